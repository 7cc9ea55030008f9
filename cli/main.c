/* The program: finds the verb and calls it. */
#include "cli/cli.h"

#include "base/version.h"
#include "cli/compile_child.h"
#include "cli/span_sender.h"
#include "jit/artifact/child_protocol.h"
#include "server/observe/sender.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
  const char *name, *summary;
  int (*run)(int argc, char **argv);
} verbs[] = {
#define VERB(name, summary) {#name, summary, cli_##name},
#include "cli/cli.def"
#undef VERB
};

enum { N_VERBS = sizeof verbs / sizeof *verbs };

static void print_usage(FILE *out) {
  fputs("usage: gasworks VERB [OPTION...] [ARGUMENT...]\n\nRuns WebAssembly functions and meters what they use.\n\n", out);
  for (size_t i = 0; i < N_VERBS; i++) fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
  fputs("\ngasworks VERB --help shows a verb's options.\n", out);
}

static int call(int argc, char **argv) {
  for (size_t i = 0; i < N_VERBS; i++)
    if (strcmp(argv[0], verbs[i].name) == 0) return verbs[i].run(argc, argv);
  return cli_misuse(NULL, "there is no verb %s", argv[0]);
}

static void print_verbs_as_json(void) {
  cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "verbs");
  for (size_t i = 0; i < N_VERBS; i++) {
    cJSON *verb = cJSON_CreateObject();
    cJSON_AddStringToObject(verb, "name", verbs[i].name);
    cJSON_AddStringToObject(verb, "summary", verbs[i].summary);
    cJSON_AddItemToArray(list, verb);
  }
  cli_print_json(json, false);
}

int cli_help(int argc, char **argv) {
  bool is_json = false;
  const struct cli_option options[] = {{"json", 0, CLI_FLAG, &is_json, NULL, "verbs, or a verb's options, as JSON"}};
  const struct cli_command command = {.name = "help",
                                      .arguments = "[VERB]",
                                      .description = "Shows what verbs there are, or what a verb does and its options.",
                                      .options = options,
                                      .n_options = 1,
                                      .max_operands = 1};
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  if (argc) {
    char help[] = "--help", json[] = "--json", *arguments[] = {argv[0], is_json ? json : help, help, NULL};
    return call(3, arguments);
  }
  if (is_json)
    print_verbs_as_json();
  else
    print_usage(stdout);
  return 0;
}

int cli_version(int argc, char **argv) {
  bool is_json = false;
  const struct cli_option options[] = {{"json", 0, CLI_FLAG, &is_json, NULL, "as a JSON object"}};
  const struct cli_command command = {
      .name = "version", .arguments = "", .description = "Shows the version.", .options = options, .n_options = 1};
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  printf(is_json ? "{\"version\": \"%s\"}\n" : "gasworks %s\n", GASWORKS_VERSION);
  return 0;
}

/* The next file that is opened would take the place of one that is closed, and have what is printed. Output gets nothing that it
 * could write to, so that it fails. */
static void keep_standard_files(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
}

int main(int argc, char **argv) {
  keep_standard_files();
  if (argc < 2) {
    print_usage(stderr);
    return gw_error_exit_code(&(struct gw_error){.code = GW_ERROR_USAGE});
  }
  if (strcmp(argv[1], CHILD_VERB) == 0) return cli_compile_child(); /* no verb for people */
  if (strcmp(argv[1], SENDER_VERB) == 0) return cli_span_sender();  /* likewise */
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) argv[1] = (char *)"help", argc = 2;
  if (strcmp(argv[1], "--version") == 0) argv[1] = (char *)"version";
  return cli_end(call(argc - 1, argv + 1));
}
