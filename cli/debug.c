/* gasworks debug: steps through a program of the precise tier, in both directions.
 *
 * Running is deterministic but for what the host answers, and that is recorded: going back is running again from the beginning to
 * an instruction before this one, with the same answers, and nothing is written twice. Instructions have numbers from 1 on, which
 * are the same in every run. */
#include "base/error.h"
#include "base/heap.h"
#include "cli/guest.h"
#include "cli/rerun.h"
#include "cli/view.h"
#include "frontend/types.h"
#include "runtime/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_BREAKPOINTS = 64, MAX_LINE = 256, LIST_AROUND = 5 };

/* When to stop next. */
enum go {
  GO_ON,        /* at a breakpoint */
  GO_TO,        /* before instruction number `target`, whatever is on the way */
  GO_STEP,      /* the same, or at a breakpoint */
  GO_GAS,       /* where gas has come to `target`, or at a breakpoint */
  GO_NEXT,      /* in this function or its caller, or at a breakpoint */
  GO_OUT,       /* in its caller, or at a breakpoint */
  GO_LAST_BREAK /* at instruction `target`, having noted the last breakpoint before */
};

/* What a command does to the program. */
enum verdict { STAY, RUN, RESTART, QUIT };

struct breakpoint {
  uint32_t id, func;
  uint64_t offset;
};

struct debug {
  struct guest guest;
  const char *stdin_path, *receipt;
  struct rerun rerun; /* with a receipt */
  struct breakpoint breakpoints[MAX_BREAKPOINTS];
  uint32_t n_breakpoints, last_id;
  enum go go;
  uint64_t target;
  uintptr_t level;          /* of the function that GO_NEXT and GO_OUT began in */
  uint64_t last_break;      /* GO_LAST_BREAK: number of the instruction, or 0 */
  struct precise_step step; /* the last one seen */
  uint32_t hit;             /* id of the breakpoint that stopped it, or 0 */
  bool has_ended;
  enum verdict verdict;
  uint32_t frame; /* that locals and operands are shown of */
  char last_line[MAX_LINE];
  struct buffer out;
  bool is_json;
};

static const struct module *module_of(const struct debug *d) { return gw_module_decoded(d->guest.module); }

/* Where it has stopped. */
static void add_place(const struct debug *d, cJSON *json) {
  struct precise_view view;
  char name[128];
  if (d->has_ended || !d->guest.store || !d->guest.instance || !precise_look(d->guest.store, 0, &view)) return;
  cJSON_AddStringToObject(json, "function", view_function(&view.place, name, sizeof name));
  cli_json_count(json, "offset", view.place.offset);
  if (d->hit) cJSON_AddNumberToObject(json, "breakpoint", d->hit);
}

/* One line of JSON for the first stop, and for what each command says and leads to. */
static void print_json(struct debug *d) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "number", d->step.number);
  cli_json_count(json, "gas", d->step.gas);
  cJSON_AddBoolToObject(json, "has_ended", d->has_ended);
  add_place(d, json);
  buffer_append(&d->out, "", 1);
  cJSON_AddStringToObject(json, "output", (const char *)d->out.bytes);
  cli_print_json_line(json);
}

static void flush(struct debug *d) {
  if (d->is_json && d->out.size)
    print_json(d);
  else
    fwrite(d->out.bytes, 1, d->out.size, stdout);
  fflush(stdout);
  d->out.size = 0;
}

static void say(struct debug *d, const char *text) { buffer_append_string(&d->out, text); }

/* --- stopping ------------------------------------------------------------------------------------------------------ */

static uint32_t find_breakpoint(const struct debug *d, const struct precise_step *step) {
  for (uint32_t i = 0; i < d->n_breakpoints; i++)
    if (d->breakpoints[i].offset == step->place.offset && step->place.instance == d->guest.instance) return d->breakpoints[i].id;
  return 0;
}

static bool is_there(const struct debug *d, const struct precise_step *step) {
  switch (d->go) {
  case GO_ON: return false;
  case GO_TO:
  case GO_STEP:
  case GO_LAST_BREAK: return step->number >= d->target;
  case GO_GAS: return step->gas >= d->target;
  case GO_NEXT: return step->level <= d->level;
  case GO_OUT: return step->level < d->level;
  }
  return true;
}

/* A precise_watch. Start functions run while there is no instance yet: they cannot be stopped. */
static bool watch(void *env, struct gw_store *store, const struct precise_step *step) {
  struct debug *d = env;
  (void)store;
  d->step = *step;
  if (!d->guest.instance) return false;
  d->hit = find_breakpoint(d, step);
  if (d->go == GO_LAST_BREAK && d->hit && step->number < d->target) d->last_break = step->number;
  bool is_silent = d->go == GO_TO || d->go == GO_LAST_BREAK;
  return is_there(d, step) || (d->hit && !is_silent);
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

/* The frame that was chosen; false, and says so, when there is none. */
static bool look(struct debug *d, struct precise_view *view) {
  if (d->guest.store && d->guest.instance && precise_look(d->guest.store, d->frame, view)) return true;
  say(d, "there is no such frame\n");
  return false;
}

static void show_stop(struct debug *d) {
  struct precise_view view;
  if (d->hit) buffer_format(&d->out, "breakpoint %" PRIu32 "\n", d->hit);
  buffer_format(&d->out, "[%" PRIu64 ", gas %" PRIu64 "] ", d->step.number, d->step.gas);
  if (look(d, &view)) view_place(&view.place, &d->out);
}

static void show_globals(struct debug *d) {
  const struct module *m = module_of(d);
  for (uint32_t i = 0; i < m->n_globals; i++) {
    val_type type = m->globals[i].type.type;
    char name[32];
    buffer_format(&d->out, "  global %" PRIu32 " %s = ", i, val_type_name(type, name, sizeof name));
    view_values(d->guest.instance->globals[i]->cell, &type, 1, &d->out);
    say(d, "\n");
  }
  if (m->n_globals == 0) say(d, "  no globals\n");
}

/* --- commands ---------------------------------------------------------------------------------------------------------- */

/* Words behind the command; NULL where there are fewer. */
struct words {
  char *at[3];
};

static bool parse_number(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  if (!text || *text < '0' || *text > '9') return false;
  *out = strtoull(text, &end, 0);
  return !*end && !errno;
}

/* A count, 1 unless told; 0 after an error. */
static uint64_t count_of(struct debug *d, const char *text) {
  uint64_t n = 1;
  if (text && (!parse_number(text, &n) || !n)) {
    say(d, "that is no count\n");
    return 0;
  }
  return n;
}

static enum verdict do_help(struct debug *d, struct words w);

static bool can_run(struct debug *d) {
  if (d->has_ended) say(d, "the program has ended: `run` begins anew, `back` goes back into it\n");
  return !d->has_ended;
}

static enum verdict go(struct debug *d, enum go how, uint64_t target) {
  if (!can_run(d)) return STAY;
  d->go = how;
  d->target = target;
  d->level = d->step.level;
  return RUN;
}

static enum verdict go_back_to(struct debug *d, uint64_t number, enum go how) {
  if (d->guest.record.is_full) {
    say(d, "the host has answered more than can be recorded: there is no way back\n");
    return STAY;
  }
  d->go = how;
  d->target = number ? number : 1;
  d->last_break = 0;
  return RESTART;
}

static enum verdict do_step(struct debug *d, struct words w) {
  uint64_t n = count_of(d, w.at[0]);
  return n ? go(d, GO_STEP, d->step.number + n) : STAY;
}

static enum verdict do_next(struct debug *d, struct words w) {
  (void)w;
  return go(d, GO_NEXT, 0);
}

static enum verdict do_finish(struct debug *d, struct words w) {
  (void)w;
  return go(d, GO_OUT, 0);
}

static enum verdict do_continue(struct debug *d, struct words w) {
  (void)w;
  return go(d, GO_ON, 0);
}

/* The last instruction that was begun, when the program has ended; what came before it otherwise. */
static enum verdict do_back(struct debug *d, struct words w) {
  uint64_t n = count_of(d, w.at[0]), number = d->step.number + d->has_ended;
  if (!n) return STAY;
  return go_back_to(d, number > n ? number - n : 1, GO_TO);
}

static enum verdict do_reverse(struct debug *d, struct words w) {
  (void)w;
  return go_back_to(d, d->step.number + d->has_ended, GO_LAST_BREAK);
}

static enum verdict do_goto(struct debug *d, struct words w) {
  uint64_t n = w.at[0] ? count_of(d, w.at[0]) : 0;
  if (!w.at[0]) say(d, "goto wants the number of an instruction\n");
  if (!n) return STAY;
  return n <= d->step.number || d->has_ended ? go_back_to(d, n, GO_TO) : go(d, GO_TO, n);
}

static enum verdict do_gas(struct debug *d, struct words w) {
  uint64_t gas;
  if (!parse_number(w.at[0], &gas)) {
    say(d, "gas wants an amount of it\n");
    return STAY;
  }
  return gas <= d->step.gas || d->has_ended ? go_back_to(d, gas, GO_GAS) : go(d, GO_GAS, gas);
}

static enum verdict do_run(struct debug *d, struct words w) {
  (void)w;
  return go_back_to(d, 1, GO_TO);
}

static bool find_function(const struct debug *d, const char *name, uint32_t *func) {
  const struct module *m = module_of(d);
  const struct export *e = module_find_export(m, name, strlen(name));
  char text[128];
  if (e && e->kind == EXTERN_FUNC) {
    *func = e->index;
    return true;
  }
  for (*func = 0; *func < m->n_funcs; ++*func) {
    const struct name *raw = &m->funcs[*func].name;
    if (raw->size == strlen(name) && memcmp(raw->bytes, name, raw->size) == 0) return true;
    if (strcmp(func_display_name(m, *func, text, sizeof text), name) == 0) return true;
  }
  return false;
}

/* The function with an instruction at `offset`. */
static bool find_offset(const struct debug *d, uint64_t offset, uint32_t *func) {
  const struct module *m = module_of(d);
  const uint8_t *wanted = m->bytes + offset;
  for (*func = m->n_imported_funcs; *func < m->n_funcs; ++*func) {
    const struct func *f = &m->funcs[*func];
    struct gw_error ignored = {0};
    struct instruction in;
    struct reader r;
    if (offset < (uint64_t)(f->body - m->bytes) || offset >= (uint64_t)(f->end - m->bytes)) continue;
    reader_init(&r, m->bytes, f->body, f->end, &ignored);
    while (instruction_read(&r, &in) && in.offset < offset) {
    }
    return m->bytes + in.offset == wanted;
  }
  return false;
}

static void list_breakpoints(struct debug *d) {
  for (uint32_t i = 0; i < d->n_breakpoints; i++) {
    const struct breakpoint *b = &d->breakpoints[i];
    struct precise_place place = {.instance = d->guest.instance, .func = b->func, .offset = b->offset};
    buffer_format(&d->out, "%3" PRIu32 ": ", b->id);
    view_place(&place, &d->out);
  }
  if (!d->n_breakpoints) say(d, "no breakpoints\n");
}

static enum verdict do_break(struct debug *d, struct words w) {
  const struct module *m = module_of(d);
  struct breakpoint b = {.id = d->last_id + 1};
  if (!w.at[0]) {
    list_breakpoints(d);
  } else if (d->n_breakpoints == MAX_BREAKPOINTS) {
    say(d, "there are 64 breakpoints already\n");
  } else if (parse_number(w.at[0], &b.offset) ? !find_offset(d, b.offset, &b.func) : !find_function(d, w.at[0], &b.func)) {
    buffer_format(&d->out, "no function is called %s, and no instruction is there\n", w.at[0]);
  } else if (b.func < m->n_imported_funcs) {
    say(d, "that function is the host's\n");
  } else {
    if (!b.offset) b.offset = (uint64_t)(m->funcs[b.func].body - m->bytes);
    d->last_id = b.id;
    d->breakpoints[d->n_breakpoints++] = b;
    buffer_format(&d->out, "breakpoint %" PRIu32 ": ", b.id);
    view_place(&(struct precise_place){d->guest.instance, b.func, b.offset}, &d->out);
  }
  return STAY;
}

static enum verdict do_delete(struct debug *d, struct words w) {
  uint64_t id = 0;
  uint32_t n = 0;
  if (w.at[0] && !parse_number(w.at[0], &id)) say(d, "delete wants the number of a breakpoint\n");
  for (uint32_t i = 0; i < d->n_breakpoints; i++)
    if (w.at[0] && d->breakpoints[i].id != id) d->breakpoints[n++] = d->breakpoints[i];
  d->n_breakpoints = n;
  list_breakpoints(d);
  return STAY;
}

static enum verdict do_where(struct debug *d, struct words w) {
  (void)w;
  view_calls(d->guest.store, &d->out);
  return STAY;
}

static enum verdict do_frame(struct debug *d, struct words w) {
  uint64_t n = 0;
  struct precise_view view;
  if (w.at[0] && (!parse_number(w.at[0], &n) || n > UINT32_MAX)) n = UINT32_MAX;
  uint32_t before = d->frame;
  d->frame = (uint32_t)n;
  if (look(d, &view))
    view_place(&view.place, &d->out);
  else
    d->frame = before;
  return STAY;
}

static enum verdict do_print(struct debug *d, struct words w) {
  struct precise_view view;
  (void)w;
  if (!look(d, &view)) return STAY;
  view_locals(&view, &d->out);
  view_operands(&view, &d->out);
  if (d->frame == 0) view_memory_access(&view, &d->out);
  return STAY;
}

static enum verdict do_globals(struct debug *d, struct words w) {
  (void)w;
  show_globals(d);
  return STAY;
}

static enum verdict do_x(struct debug *d, struct words w) {
  uint64_t address, size = 64;
  if (!parse_number(w.at[0], &address) || (w.at[1] && (!parse_number(w.at[1], &size) || size > 1 << 20)))
    say(d, "x wants an address, and perhaps how many bytes\n");
  else
    view_memory(d->guest.instance, address, size, &d->out);
  return STAY;
}

static enum verdict do_list(struct debug *d, struct words w) {
  uint64_t around = LIST_AROUND;
  struct precise_view view;
  if (w.at[0] && (!parse_number(w.at[0], &around) || around > 1000)) around = LIST_AROUND;
  if (look(d, &view)) view_listing(&view.place, (uint32_t)around, &d->out);
  return STAY;
}

static enum verdict do_quit(struct debug *d, struct words w) {
  (void)d, (void)w;
  return QUIT;
}

static const struct command {
  const char *name, *arguments, *what;
  enum verdict (*run)(struct debug *d, struct words w);
} commands[] = {
    /* What a prefix of several means is the first of them. */
    {"break", "[FUNCTION|OFFSET]", "stop there; without: list breakpoints", do_break},
    {"step", "[N]", "one instruction, or N", do_step},
    {"next", "", "the same, but over calls", do_next},
    {"continue", "", "to a breakpoint, or the end", do_continue},
    {"finish", "", "until this function returns", do_finish},
    {"back", "[N]", "one instruction, or N, backwards", do_back},
    {"reverse", "", "backwards to a breakpoint, or the beginning", do_reverse},
    {"goto", "NUMBER", "to the instruction with this number, in either direction", do_goto},
    {"gas", "N", "to where gas used has come to N, in either direction", do_gas},
    {"print", "", "locals, operands, and memory about to be touched", do_print},
    {"globals", "", "all globals", do_globals},
    {"x", "ADDRESS [BYTES]", "memory, 64 bytes unless told", do_x},
    {"list", "[N]", "N instructions around the next one, 5 unless told", do_list},
    {"locals", "", "the same", do_print},
    {"where", "", "calls that led here (also: bt)", do_where},
    {"bt", "", "the same", do_where},
    {"frame", "[N]", "look at call N of them; 0 unless told", do_frame},
    {"delete", "[N]", "a breakpoint, or all", do_delete},
    {"run", "", "begin anew", do_run},
    {"help", "", "show this", do_help},
    {"quit", "", "end the program and the debugger", do_quit},
};

static enum verdict do_help(struct debug *d, struct words w) {
  (void)w;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    buffer_format(&d->out, "  %-9s %-19s %s\n", commands[i].name, commands[i].arguments, commands[i].what);
  say(d, "Commands may be cut short; an empty line is the last one again.\n");
  return STAY;
}

static enum verdict obey(struct debug *d, char *line) {
  static const char blank[] = " \t\n";
  char *rest, *name = strtok_r(line, blank, &rest);
  struct words w;
  for (int i = 0; i < 3; i++) w.at[i] = strtok_r(NULL, blank, &rest);
  if (!name) return STAY;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strncmp(commands[i].name, name, strlen(name)) == 0) return commands[i].run(d, w);
  buffer_format(&d->out, "no command is called %s; try help\n", name);
  return STAY;
}

/* Reads commands until one lets the program run, or ends it. */
static void converse(struct debug *d) {
  char line[MAX_LINE];
  bool is_terminal = isatty(STDIN_FILENO);
  d->frame = 0;
  do {
    flush(d);
    if (is_terminal && !d->is_json) fputs("(gasworks) ", stdout);
    fflush(stdout);
    d->verdict = QUIT;
    if (!fgets(line, sizeof line, stdin)) return;
    if (line[0] == '\n') snprintf(line, sizeof line, "%s", d->last_line);
    snprintf(d->last_line, sizeof d->last_line, "%s", line);
    d->verdict = obey(d, line);
  } while (d->verdict == STAY);
  flush(d);
}

/* The guest has yielded from the watch. */
static bool on_stop(void *env) {
  struct debug *d = env;
  if (d->go == GO_LAST_BREAK) { /* now it is known where it was */
    d->go = GO_TO;
    d->target = d->last_break ? d->last_break : 1;
    d->verdict = RESTART;
    return false;
  }
  show_stop(d);
  converse(d);
  return d->verdict == RUN;
}

/* --- the verb ------------------------------------------------------------------------------------------------------------ */

static void show_end(struct debug *d, bool ok, const struct gw_error *err) {
  struct guest *g = &d->guest;
  uint64_t gas = g->store ? gw_store_gas_used(g->store) : 0;
  if (ok && g->type) {
    say(d, "= ");
    view_values(g->values, g->type->results, g->type->n_results, &d->out);
    say(d, "\n");
  }
  if (g->handler.reply.size) buffer_format(&d->out, "the reply has %zu bytes\n", g->handler.reply.size);
  if (ok && d->receipt)
    say(d, "the invocation has ended");
  else if (ok)
    buffer_format(&d->out, "the program has ended with code %" PRIu32, wasi_exit_code(g->wasi) & 0xff);
  else
    buffer_format(&d->out, "the program has trapped: %s", err->message);
  buffer_format(&d->out, " after %" PRIu64 " instructions and %" PRIu64 " gas\n", d->step.number, gas);
}

/* One run from the beginning; d->verdict says what comes next. */
static bool run_once(struct debug *d, struct gw_error *err) {
  d->has_ended = false;
  d->verdict = RUN;
  bool ok = guest_run(&d->guest, GW_TIER_PRECISE, err);
  if (d->verdict != RUN) return true;
  if (!ok && err->code != GW_ERROR_TRAP) return false;
  if (d->go == GO_LAST_BREAK) { /* from an end that came before its target */
    d->go = GO_TO;
    d->target = d->last_break ? d->last_break : 1;
    d->verdict = RESTART;
    return true;
  }
  d->has_ended = true;
  show_end(d, ok, err);
  converse(d);
  return true;
}

static bool open_stdin(struct debug *d, struct gw_error *err) {
  const char *path = d->stdin_path ? d->stdin_path : "/dev/null";
  d->guest.stdin_fd = open(path, O_RDONLY | O_CLOEXEC);
  return d->guest.stdin_fd >= 0 || error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
}

static int debug(struct debug *d, int argc, char **argv) {
  struct gw_error err = {0};
  d->guest.watch = watch;
  d->guest.watch_env = d;
  d->guest.on_stop = on_stop;
  d->go = GO_TO;
  d->target = 1;
  if (d->receipt ? argc > 0 : argc < 1) return cli_misuse("debug", "it wants FILE.wasm, or --receipt ID and no file");
  d->guest.is_output_err = d->is_json;
  bool ok = d->receipt ? rerun_load_guest(&d->rerun, d->receipt, &d->guest, &err)
                       : open_stdin(d, &err) && guest_load(&d->guest, argc, argv, &err);
  if (!ok) return cli_fail(&err);
  do {
    err = (struct gw_error){0};
    if (!run_once(d, &err)) return cli_fail(&err);
    if (d->verdict == RESTART) record_replay(&d->guest.record, d->receipt ? RECORD_ENDS : RECORD_CONTINUES);
  } while (d->verdict == RESTART);
  flush(d);
  return 0;
}

int cli_debug(int argc, char **argv) {
  struct debug *d = heap_new(1, sizeof *d);
  struct guest *g = &d->guest;
  g->gas = true;
  g->tier = TIER_PRECISE;
  g->stdin_fd = -1;
  d->rerun.client = client_default();
  d->rerun.files = -1;
  const struct cli_option options[] = {
      GUEST_OPTIONS(g),
      {"receipt", 0, CLI_TEXT, &d->receipt, "ID",
       "in place of a file: this invocation of a server, as `gasworks replay` has it; its options follow"},
      RERUN_OPTIONS(&d->rerun),
      {"stdin", 0, CLI_TEXT, &d->stdin_path, "FILE",
       "standard input of the program; empty unless told, commands come from the terminal's"},
      {"json", 0, CLI_FLAG, &d->is_json, NULL,
       "what each command leads to as a line of JSON; the program's own output goes to standard error"},
  };
  const struct cli_command command = {
      .name = "debug",
      .arguments = "FILE.wasm [ARGS...] | --receipt ID",
      .description =
          "Runs a module as `run --tier precise` does, and stops before its first instruction. Commands, from standard\n"
          "input, step forwards and backwards and look around; `help` lists them.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .max_operands = INT32_MAX,
      .ends_at_operand = true,
  };
  int exit_code;
  if (cli_parse(&command, &argc, &argv, &exit_code)) exit_code = debug(d, argc, argv);
  buffer_clear(&d->out);
  if (g->stdin_fd >= 0) close(g->stdin_fd);
  guest_clear(g);
  rerun_clear(&d->rerun);
  free(d);
  return exit_code;
}
