/* spec: runs the official WebAssembly test suite against the engine.
 *
 * Every script runs in a process of its own, so that a crash or an endless loop costs that script and no other. Scripts that
 * need features which are off are skipped with all their commands. */
#include "tests/spec.h"

#include "frontend/feature.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_NO_SUITE = 77, SCRIPT_SECONDS = 120, MAX_GROUPS = 64, MAX_WANTED = 512 };

static const char help[] = "usage: spec [OPTION...] [SCRIPT...]\n"
                           "Runs the official test suite: every script whose features are on, or those named (i32, core/i32).\n"
                           "  -O LEVEL         optimisation level 0 to 3 (2)\n"
                           "  --gas on|off     meter the code (on)\n"
                           "  --exact          compile so that traps leave everything as specified, as embedders do\n"
                           "  --tier TIER      fast, precise, baseline or mixed (fast)\n"
                           "  --suite DIR      the suite's directory\n"
                           "  --all            run scripts that need features which are off, too\n"
                           "  --list-skipped   name the scripts that are skipped and why\n"
                           "  --json           the totals as one JSON object on stdout, failures on stderr\n"
                           "  --verbose        also print messages that are worded unlike the suite's\n"
                           "Exits with 1 when a command failed, with 77 when there is no suite.\n";

/* One line of the table: scripts with the same main feature. */
struct group {
  const char *feature;
  unsigned scripts, scripts_skipped;
  struct tally tally;
};

struct session {
  struct spec_settings settings;
  bool run_all, list_skipped, as_json;
  const char *wanted[MAX_WANTED];
  bool was_found[MAX_WANTED];
  size_t n_wanted;
  struct group groups[MAX_GROUPS];
  size_t n_groups;
  struct tally *shared; /* of the script under way */
};

static const char *string_of(const cJSON *json, const char *key) {
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
  return s ? s : "";
}

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- which scripts ------------------------------------------------------------------------------------------------ */

static bool is_wanted(struct session *s, const char *group, const char *name) {
  bool wanted = s->n_wanted == 0;
  char label[256];
  snprintf(label, sizeof label, "%s/%s", group, name);
  for (size_t i = 0; i < s->n_wanted; i++) {
    if (strcmp(s->wanted[i], name) != 0 && strcmp(s->wanted[i], label) != 0) continue;
    wanted = s->was_found[i] = true;
  }
  return wanted;
}

static bool is_on_by_name(const char *name) {
  for (int f = 0; f < FEATURE_COUNT; f++) {
    if (strcmp(feature_name(f), name) == 0) return feature_is_on(f);
  }
  return false;
}

/* Of gc these scripts use no more than the recursive groups and subtypes of functions, which come with typed references. */
static const char *const need_no_gc[] = {"data", "elem", "global", "tag", "type-canon", "type-equivalence"};

static bool needs(const cJSON *entry, const char *feature) {
  if (strcmp(feature, "gc") != 0 || strcmp(string_of(entry, "group"), "core") != 0) return true;
  for (size_t i = 0; i < sizeof need_no_gc / sizeof need_no_gc[0]; i++) {
    if (strcmp(string_of(entry, "name"), need_no_gc[i]) == 0) return false;
  }
  return true;
}

/* The first feature that the script needs and the engine lacks, or NULL. */
static const char *missing_feature(const cJSON *entry) {
  const cJSON *feature;
  const char *main_feature = string_of(entry, "main");
  if (!is_on_by_name(main_feature) && needs(entry, main_feature)) return main_feature;
  cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(entry, "features")) {
    const char *name = cJSON_GetStringValue(feature);
    if (!is_on_by_name(name) && needs(entry, name)) return name;
  }
  return NULL;
}

static struct group *group_of(struct session *s, const char *feature) {
  for (size_t i = 0; i < s->n_groups; i++) {
    if (strcmp(s->groups[i].feature, feature) == 0) return &s->groups[i];
  }
  if (s->n_groups == MAX_GROUPS) return &s->groups[MAX_GROUPS - 1];
  s->groups[s->n_groups].feature = feature;
  return &s->groups[s->n_groups++];
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static void tally_add(struct tally *to, const struct tally *from) {
  to->passed += from->passed;
  to->failed += from->failed;
  to->skipped += from->skipped;
  to->rejections += from->rejections;
  to->worded_alike += from->worded_alike;
  to->rejected_early += from->rejected_early;
}

static int run_child(struct session *s, const char *label, const char *path) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(SCRIPT_SECONDS);
    exit(spec_run_script(&s->settings, label, path, s->shared) ? 0 : 1);
  }
  int status = -1;
  if (pid > 0) waitpid(pid, &status, 0);
  return status;
}

/* Commands that a crash left undone count as failed. A child that fails behind its last command (a leak found by a sanitizer) is
 * one failure more. */
static void run_script(struct session *s, const cJSON *entry, struct group *group) {
  char label[256], path[4096];
  unsigned total = (unsigned)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "total"));
  snprintf(label, sizeof label, "%s/%s", string_of(entry, "group"), string_of(entry, "name"));
  snprintf(path, sizeof path, "%s/%s", s->settings.suite, string_of(entry, "json"));
  struct tally *t = s->shared;
  *t = (struct tally){0};
  double start = seconds_now();
  int status = run_child(s, label, path);
  if (status != 0) {
    unsigned done = t->passed + t->failed + t->skipped;
    unsigned undone = done < total ? total - done : 1;
    fprintf(s->settings.report, "%s:%u: the script's process ended with %s %d; %u commands undone\n", label, t->line,
            WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            done < total ? undone : 0);
    t->failed += undone;
  }
  if (s->settings.is_verbose) {
    fprintf(s->settings.report, "%-40s %6u passed %4u failed %4u skipped %7.2f s\n", label, t->passed, t->failed, t->skipped,
            seconds_now() - start);
  }
  tally_add(&group->tally, t);
}

static void visit_script(struct session *s, const cJSON *entry) {
  if (!is_wanted(s, string_of(entry, "group"), string_of(entry, "name"))) return;
  struct group *group = group_of(s, string_of(entry, "main"));
  const char *missing = missing_feature(entry);
  if (!missing || s->run_all) {
    group->scripts++;
    run_script(s, entry, group);
    return;
  }
  group->scripts_skipped++;
  group->tally.skipped += (unsigned)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "total"));
  if (s->list_skipped || s->n_wanted > 0) {
    fprintf(s->settings.report, "%s/%s: skipped, needs %s\n", string_of(entry, "group"), string_of(entry, "name"), missing);
  }
}

/* --- reports ------------------------------------------------------------------------------------------------------- */

static const char *const tiers[] = {
    [GW_TIER_FAST] = "fast", [GW_TIER_PRECISE] = "precise", [GW_TIER_BASELINE] = "baseline", [GW_TIER_MIXED] = "mixed"};

static void print_table(const struct session *s, const struct tally *total, double seconds) {
  printf("%-20s %14s %8s %8s %8s   %s\n", "feature", "scripts", "passed", "failed", "skipped", "rejections in the suite's words");
  for (size_t i = 0; i < s->n_groups; i++) {
    const struct group *g = &s->groups[i];
    printf("%-20s %4u of %-7u %8u %8u %8u", g->feature, g->scripts, g->scripts + g->scripts_skipped, g->tally.passed,
           g->tally.failed, g->tally.skipped);
    if (g->tally.rejections) printf("   %u of %u", g->tally.worded_alike, g->tally.rejections);
    printf("\n");
  }
  if (s->settings.tier != GW_TIER_FAST)
    printf("%s tier", tiers[s->settings.tier]);
  else
    printf("-O%u", s->settings.engine.opt_level);
  printf(", gas %s, %.1f s; %u modules rejected as unsupported or too large\n", s->settings.engine.gas ? "on" : "off", seconds,
         total->rejected_early);
}

static cJSON *tally_json(const struct tally *t) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "passed", t->passed);
  cJSON_AddNumberToObject(json, "failed", t->failed);
  cJSON_AddNumberToObject(json, "skipped", t->skipped);
  cJSON_AddNumberToObject(json, "rejections", t->rejections);
  cJSON_AddNumberToObject(json, "worded_alike", t->worded_alike);
  return json;
}

static void print_json(const struct session *s, const struct tally *total, double seconds) {
  cJSON *json = tally_json(total);
  cJSON_AddNumberToObject(json, "opt_level", s->settings.engine.opt_level);
  cJSON_AddStringToObject(json, "tier", tiers[s->settings.tier]);
  cJSON_AddBoolToObject(json, "gas", s->settings.engine.gas);
  cJSON_AddNumberToObject(json, "seconds", seconds);
  cJSON *features = cJSON_AddObjectToObject(json, "features");
  for (size_t i = 0; i < s->n_groups; i++) {
    cJSON *group = tally_json(&s->groups[i].tally);
    cJSON_AddNumberToObject(group, "scripts", s->groups[i].scripts);
    cJSON_AddNumberToObject(group, "scripts_skipped", s->groups[i].scripts_skipped);
    cJSON_AddItemToObject(features, s->groups[i].feature, group);
  }
  char *text = cJSON_Print(json);
  printf("%s\n", text);
  cJSON_free(text);
  cJSON_Delete(json);
}

/* --- command line -------------------------------------------------------------------------------------------------- */

static bool read_level(struct session *s, const char *text) {
  if (!text || strlen(text) != 1 || text[0] < '0' || text[0] > '3') return false;
  s->settings.engine.opt_level = (uint32_t)(text[0] - '0');
  return true;
}

static bool read_gas(struct session *s, const char *text) {
  if (!text || (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)) return false;
  s->settings.engine.gas = strcmp(text, "on") == 0;
  return true;
}

static bool read_tier(struct session *s, const char *text) {
  for (size_t i = 0; text && i < sizeof tiers / sizeof *tiers; i++) {
    if (strcmp(text, tiers[i]) != 0) continue;
    s->settings.tier = (enum gw_tier)i;
    return true;
  }
  return false;
}

/* Arguments after argv[*at] are taken where an option wants one. */
static bool read_option(struct session *s, char **argv, int *at) {
  const char *option = argv[*at];
  if (strcmp(option, "--json") == 0) return s->as_json = true;
  if (strcmp(option, "--verbose") == 0) return s->settings.is_verbose = true;
  if (strcmp(option, "--list-skipped") == 0) return s->list_skipped = true;
  if (strcmp(option, "--exact") == 0) return !(s->settings.engine.loose_traps = false);
  if (strcmp(option, "--all") == 0) return s->run_all = true;
  if (strcmp(option, "-O") == 0) return read_level(s, argv[++*at]);
  if (strncmp(option, "-O", 2) == 0) return read_level(s, option + 2);
  if (strcmp(option, "--gas") == 0) return read_gas(s, argv[++*at]);
  if (strcmp(option, "--tier") == 0) return read_tier(s, argv[++*at]);
  if (strcmp(option, "--suite") == 0) return (s->settings.suite = argv[++*at]) != NULL;
  return false;
}

static bool read_arguments(struct session *s, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] == '-') {
      if (!read_option(s, argv, &i)) return false;
    } else if (s->n_wanted == MAX_WANTED) {
      return false;
    } else {
      s->wanted[s->n_wanted++] = argv[i];
    }
  }
  return true;
}

static bool report_unknown(const struct session *s) {
  bool ok = true;
  for (size_t i = 0; i < s->n_wanted; i++) {
    if (s->was_found[i]) continue;
    fprintf(stderr, "spec: the suite has no script \"%s\"\n", s->wanted[i]);
    ok = false;
  }
  return ok;
}

static int run_session(struct session *s, const cJSON *manifest) {
  const cJSON *entry;
  struct tally total = {0};
  double start = seconds_now();
  s->shared = mmap(NULL, sizeof *s->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s->shared == MAP_FAILED) return 1;
  cJSON_ArrayForEach(entry, manifest) visit_script(s, entry);
  munmap(s->shared, sizeof *s->shared);
  for (size_t i = 0; i < s->n_groups; i++) tally_add(&total, &s->groups[i].tally);
  double seconds = seconds_now() - start;
  if (s->as_json) {
    print_json(s, &total, seconds);
  } else {
    print_table(s, &total, seconds);
    printf("%u passed, %u failed, %u skipped\n", total.passed, total.failed, total.skipped);
  }
  return report_unknown(s) && total.failed == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
  static struct session session;
  struct session *s = &session;
  s->settings =
      (struct spec_settings){.engine = {.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, .suite = SPEC_DIR};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(help, stdout);
    return 0;
  }
  if (!read_arguments(s, argc, argv)) {
    fputs(help, stderr);
    return 2;
  }
  s->settings.report = s->as_json ? stderr : stdout;
  char path[4096];
  snprintf(path, sizeof path, "%s/manifest.json", s->settings.suite);
  if (access(path, R_OK) != 0) {
    fprintf(stderr, "spec: the official test suite is not there (%s cannot be read); nothing was tested\n", path);
    return EXIT_NO_SUITE;
  }
  cJSON *manifest = spec_json_read(path);
  if (!manifest) return 1;
  int status = run_session(s, manifest);
  cJSON_Delete(manifest);
  return status;
}
