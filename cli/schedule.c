/* gasworks schedule: what everything costs. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/gas.h"
#include "frontend/opcode.h"

#include <inttypes.h>
#include <stdio.h>

bool cli_read_schedule(const char *path, struct schedule *out, struct gw_error *err) {
  struct buffer text = {0};
  *out = *schedule_default();
  bool ok = !path || (cli_read_file(&text, path, err) && schedule_read(text.bytes, text.size, out, err));
  buffer_clear(&text);
  return ok;
}

/* The next instruction of class `c` from `op` on, or OP_COUNT. Numbers without an instruction are skipped. */
static int next_of_class(enum cost c, int op) {
  while (op < OP_COUNT && (!op_table[op].text || op_table[op].cost != c)) op++;
  return op;
}

static void print_table(const struct schedule *s, const char *digest) {
  printf("version  %" PRIu32 "\ndigest   %s\n\n", s->version, digest);
  for (int c = 0; c < COST_COUNT; c++) {
    int column = printf("%-19s %6" PRIu32, cost_name(c), s->gas[c]);
    column += s->latency[c] ? printf(" %4" PRIu32, s->latency[c]) : printf("     ");
    for (int op = next_of_class(c, 0); op < OP_COUNT; op = next_of_class(c, op + 1)) {
      if (column > 110) column = printf("\n%31s", "") - 1;
      column += printf("%s%s", column > 31 ? " " : "  ", op_table[op].text);
    }
    puts("");
  }
}

static void print_json(const struct schedule *s, const char *digest) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "version", s->version);
  cJSON_AddStringToObject(json, "digest", digest);
  cJSON *all = cJSON_AddObjectToObject(json, "classes"), *dynamic = cJSON_AddObjectToObject(json, "dynamic");
  for (int c = 0; c < COST_COUNT; c++) cli_json_count(cost_is_instruction(c) ? all : dynamic, cost_name(c), s->gas[c]);
  cJSON *instructions = cJSON_AddObjectToObject(json, "instructions");
  cJSON *latencies = cJSON_AddObjectToObject(json, "latencies");
  for (int c = 0; c < COST_COUNT; c++)
    if (cost_is_instruction(c)) cli_json_count(latencies, cost_name(c), s->latency[c]);
  for (int op = 0; op < OP_COUNT; op++)
    if (op_table[op].text) cli_json_count(instructions, op_table[op].text, s->gas[op_table[op].cost]);
  cli_print_json(json, false);
}

static void print_text(const struct schedule *s) {
  char text[8192];
  schedule_print(s, text, sizeof text);
  fputs(text, stdout);
}

int cli_schedule(int argc, char **argv) {
  bool is_text = false, is_json = false;
  const char *path = NULL;
  const struct cli_option options[] = {
      {"schedule", 0, CLI_TEXT, &path, "FILE", "the schedule to show, checked; the built-in one unless told"},
      {"text", 0, CLI_FLAG, &is_text, NULL, "the canonical text, whose digest is the schedule's; what --schedule reads"},
      {"json", 0, CLI_FLAG, &is_json, NULL, "the price of every instruction and of dynamic work, as JSON"},
  };
  const struct cli_command command = {
      .name = "schedule",
      .arguments = "",
      .description = "Shows the gas schedule in force: version, digest, the price of every class of work and the instructions\n"
                     "that belong to it.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
  };
  int exit_code;
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  struct schedule s;
  struct gw_error err = {0};
  char digest[DIGEST_HEX_SIZE];
  if (!cli_read_schedule(path, &s, &err)) return cli_fail(&err);
  digest_print(&s.digest, digest);
  if (is_text)
    print_text(&s);
  else if (is_json)
    print_json(&s, digest);
  else
    print_table(&s, digest);
  return 0;
}
