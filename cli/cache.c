/* gasworks cache: shows and prunes what `run` keeps. */
#include "cli/cache.h"

#include "base/error.h"
#include "cli/cli.h"
#include "jit/artifact/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* malloc'd, or NULL. */
static char *find_directory(void) {
  const char *own = getenv("GASWORKS_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  struct buffer path = {0};
  if (own && *own)
    buffer_append_string(&path, own);
  else if (xdg && *xdg == '/')
    buffer_format(&path, "%s/gasworks", xdg);
  else if (home && *home == '/')
    buffer_format(&path, "%s/.cache/gasworks", home);
  if (path.size) buffer_append(&path, "", 1);
  return (char *)path.bytes;
}

struct gw_cache *cli_open_cache(const char *directory, struct gw_error *err) {
  char *path = directory ? strdup(directory) : find_directory();
  bool is_off = !path || strcmp(path, "off") == 0;
  struct gw_cache *cache = is_off ? NULL : gw_cache_open(path, 0, err);
  free(path);
  return cache;
}

/* --- showing ------------------------------------------------------------------------------------------------------------ */

struct listing {
  bool wants_json;
  cJSON *entries;
  uint64_t bytes;
  int64_t now_s;
};

static void describe_age(int64_t seconds, char *out, size_t size) {
  static const struct {
    int64_t seconds;
    const char *name;
  } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
  size_t i = 0;
  while (i < 3 && seconds < units[i].seconds) i++;
  snprintf(out, size, "%lld %s", (long long)(seconds / units[i].seconds), units[i].name);
}

static void show_entry(struct listing *l, const struct cache_entry *e, const struct artifact *a, const char *problem) {
  char module[DIGEST_HEX_SIZE] = "", age[32];
  if (a) digest_print(&a->key->module, module);
  if (!l->wants_json) {
    describe_age(l->now_s - e->used_s, age, sizeof age);
    printf("%.16s  %.16s  -O%u  gas %-3s  %12llu bytes  used %s ago%s%s\n", e->name, a ? module : "?               ",
           a ? a->key->opt_level : 0, a && a->key->gas ? "on" : "off", (unsigned long long)e->size, age, problem[0] ? "  " : "",
           problem);
    return;
  }
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", e->name);
  cli_json_count(json, "bytes", e->size);
  cJSON_AddNumberToObject(json, "used", (double)e->used_s);
  if (a) {
    cJSON_AddStringToObject(json, "module", module);
    cJSON_AddStringToObject(json, "cpu", a->key->cpu);
    cli_json_count(json, "opt_level", a->key->opt_level);
    cJSON_AddBoolToObject(json, "gas", a->key->gas);
  } else {
    cJSON_AddStringToObject(json, "problem", problem);
  }
  cJSON_AddItemToArray(l->entries, json);
}

static bool show(struct gw_cache *cache, bool wants_json, struct gw_error *err) {
  size_t n;
  struct cache_entry *entries = cache_list(cache, &n, err);
  struct listing l = {.wants_json = wants_json, .entries = cJSON_CreateArray(), .now_s = time(NULL)};
  if (!entries) {
    cJSON_Delete(l.entries);
    return false;
  }
  for (size_t i = 0; i < n; i++) {
    struct gw_error problem = {0};
    struct artifact *a = cache_open_entry(cache, &entries[i], &problem);
    show_entry(&l, &entries[i], a, problem.message);
    artifact_unmap(a);
    l.bytes += entries[i].size;
  }
  free(entries);
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "directory", cache_directory(cache));
  cli_json_count(json, "bytes", l.bytes);
  cJSON_AddItemToObject(json, "entries", l.entries);
  if (wants_json) {
    cli_print_json(json, false);
    return true;
  }
  printf("%s: %zu artifacts, %llu bytes\n", cache_directory(cache), n, (unsigned long long)l.bytes);
  cJSON_Delete(json);
  return true;
}

static bool prune(struct gw_cache *cache, uint64_t most, bool wants_json, struct gw_error *err) {
  size_t n = 0;
  uint64_t bytes = 0;
  if (!cache_prune(cache, most, &n, &bytes, err)) return false;
  if (!wants_json) {
    printf("%s: removed %zu artifacts, %llu bytes\n", cache_directory(cache), n, (unsigned long long)bytes);
    return true;
  }
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "removed", n);
  cli_json_count(json, "removed_bytes", bytes);
  cli_print_json(json, false);
  return true;
}

int cli_cache(int argc, char **argv) {
  const char *directory = NULL;
  bool wants_json = false;
  uint64_t most = 0;
  const struct cli_option options[] = {
      {"cache", 0, CLI_TEXT, &directory, "DIR", "$GASWORKS_CACHE, $XDG_CACHE_HOME/gasworks or ~/.cache/gasworks unless told"},
      {"keep", 0, CLI_SIZE, &most, "BYTES", "prune: leave this much, what was used last (K M G allowed); nothing unless told"},
      {"json", 0, CLI_FLAG, &wants_json, NULL, "as JSON"},
  };
  const struct cli_command command = {
      .name = "cache",
      .arguments = "[prune]",
      .description =
          "Shows which compiled modules are kept, the least recently used first, and what is damaged; prune removes them.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  bool wants_prune = argc && strcmp(argv[0], "prune") == 0;
  if (argc && !wants_prune) return cli_misuse("cache", "%s is no part of this verb: leave it out, or say prune", argv[0]);
  struct gw_cache *cache = cli_open_cache(directory, &err);
  if (!cache && !err.code) error_set(&err, GW_ERROR_USAGE, "there is no cache: neither HOME nor XDG_CACHE_HOME is set");
  bool ok = cache && (wants_prune ? prune(cache, most, wants_json, &err) : show(cache, wants_json, &err));
  gw_cache_close(cache);
  return ok ? 0 : cli_fail(&err);
}
