/* gasworks init: a folder with a small function, the SDK of its language and a script that builds it. */
#include "cli/cli.h"

#include "base/error.h"
#include "base/files.h"
#include "server/function/function.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
  const char *word, *folder;
} languages[] = {
    {"c", "c"},
    {"rust", "rust"},
    {"assemblyscript", "assemblyscript"},
    {"as", "assemblyscript"},
};

static const char *find_language(const char *word) {
  for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
    if (strcmp(languages[i].word, word) == 0) return languages[i].folder;
  return NULL;
}

/* --- where templates are ----------------------------------------------------------------------------------------- */

/* Beside an installed program, or in the tree that it was built in. NULL: nowhere. */
static const char *find_sdk(struct arena *arena) {
  static const char *const places[] = {"../share/gasworks/sdk", "../../sdk"};
  char program[2048];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  program[n > 0 ? n : 0] = 0;
  char *slash = strrchr(program, '/');
  if (slash) *slash = 0;
  for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
    const char *path = arena_format(arena, "%s/%s", program, places[i]);
    if (access(arena_format(arena, "%s/templates", path), F_OK) == 0) return path;
  }
  return NULL;
}

/* --- copying ----------------------------------------------------------------------------------------------------- */

struct copying {
  const char *name; /* of the function, in the place of @NAME@ */
  struct arena *arena;
  cJSON *files; /* what was made */
  struct gw_error *err;
};

static const char *replace(const struct copying *c, const char *text) {
  static const char mark[] = "@NAME@";
  struct buffer out = {0};
  for (const char *at; (at = strstr(text, mark)); text = at + sizeof mark - 1) {
    buffer_append(&out, text, (size_t)(at - text));
    buffer_append_string(&out, c->name);
  }
  buffer_append(&out, text, strlen(text) + 1);
  const char *result = arena_format(c->arena, "%s", (const char *)out.bytes);
  buffer_clear(&out);
  return result;
}

static bool copy_file(const struct copying *c, const char *from, const char *to, mode_t mode) {
  struct buffer bytes = {0};
  if (!buffer_read_file(&bytes, from, 1 << 20, c->err)) return false;
  buffer_append(&bytes, "", 1);
  const char *text = replace(c, (const char *)bytes.bytes);
  bool ok = file_write_durably(to, text, strlen(text), mode & 0777, c->err);
  cJSON_AddItemToArray(c->files, cJSON_CreateString(to));
  buffer_clear(&bytes);
  return ok;
}

/* The plain files of a folder. Installed templates have no hidden files: `gitignore` becomes one. */
static bool copy_folder(const struct copying *c, const char *from, const char *to) {
  DIR *dir = opendir(from);
  if (!dir) return error_set(c->err, GW_ERROR_IO, "cannot open %s: %s", from, strerror(errno));
  bool ok = directory_make(to, c->err);
  for (const struct dirent *entry; ok && (entry = readdir(dir));) {
    struct stat s;
    const char *path = arena_format(c->arena, "%s/%s", from, entry->d_name);
    bool is_hidden = strcmp(entry->d_name, "gitignore") == 0;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) continue;
    ok = copy_file(c, path, arena_format(c->arena, "%s/%s%s", to, is_hidden ? "." : "", replace(c, entry->d_name)), s.st_mode);
  }
  closedir(dir);
  return ok;
}

static bool init(const struct copying *c, const char *language, const char *directory) {
  const char *sdk = find_sdk(c->arena);
  if (!sdk)
    return error_set(c->err, GW_ERROR_IO, "found no templates, in ../share/gasworks/sdk beside the program or in ../../sdk");
  if (mkdir(directory, 0777) != 0)
    return error_set(c->err, GW_ERROR_IO, "cannot make the folder %s: %s", directory, strerror(errno));
  return copy_folder(c, arena_format(c->arena, "%s/templates/%s", sdk, language), directory) &&
         copy_folder(c, arena_format(c->arena, "%s/%s", sdk, language), arena_format(c->arena, "%s/sdk", directory));
}

/* --- the verb ---------------------------------------------------------------------------------------------------- */

static void show(const char *name, const char *directory, cJSON *files, bool is_json) {
  if (is_json) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", name);
    cJSON_AddStringToObject(json, "directory", directory);
    cJSON_AddItemToObject(json, "files", cJSON_Duplicate(files, true));
    cli_print_json(json, false);
    return;
  }
  const cJSON *file;
  cJSON_ArrayForEach(file, files) printf("  %s\n", file->valuestring);
  printf("gasworks dev %s builds it, deploys it, and does so again whenever you change it\n", directory);
}

int cli_init(int argc, char **argv) {
  const char *language = "c", *directory = NULL;
  bool is_json = false;
  const struct cli_option options[] = {
      {"lang", 'l', CLI_TEXT, &language, "c|rust|assemblyscript|as", "which language; c unless told"},
      {"directory", 'C', CLI_TEXT, &directory, "DIR", "the folder to make; NAME unless told"},
      {"json", 0, CLI_FLAG, &is_json, NULL, "what was made as JSON"},
  };
  const struct cli_command command = {
      .name = "init",
      .arguments = "NAME",
      .description =
          "Makes a folder with a small function, the SDK of its language, a script that builds it, and function.yaml, which\n"
          "`gasworks dev` reads.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  struct arena arena = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  if (!find_language(language)) return cli_misuse("init", "--lang wants c, rust or assemblyscript, not %s", language);
  if (!function_name_is_valid(argv[0], strlen(argv[0])))
    return cli_misuse("init", "%.80s is no name for a function: small letters, digits, _ and -, at most 63", argv[0]);
  if (!directory) directory = argv[0];
  struct copying copying = {argv[0], &arena, cJSON_CreateArray(), &err};
  bool ok = init(&copying, find_language(language), directory);
  if (ok) show(argv[0], directory, copying.files, is_json);
  cJSON_Delete(copying.files);
  arena_clear(&arena);
  return ok ? 0 : cli_fail(&err);
}
