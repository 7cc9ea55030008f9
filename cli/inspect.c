/* gasworks inspect: what a module holds, without running it. */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/gas.h"
#include "cli/module.h"
#include "frontend/disassemble.h"
#include "frontend/types.h"
#include "jit/artifact/artifact.h"
#include "jit/artifact/file_kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inspection {
  bool gas, ir, ir_fresh, assembly, text, is_json, meter;
  uint32_t opt_level;
  const char *schedule_path, *cpu;
  struct schedule schedule;
  struct buffer bytes;
  bool is_compiled;
  struct artifact artifact; /* is_compiled: what holds the module */
  struct gw_engine *engine;
  struct gw_module *module;
};

/* --- summary ------------------------------------------------------------------------------------------------------ */

/* How a server would call the module. */
static const char *interface_of(const struct module *m) {
  if (module_find_export(m, "handle", 6)) return "handle";
  if (module_find_export(m, "_start", 6)) return "command";
  return "library";
}

static cJSON *json_name(struct name name) {
  char *text = malloc((size_t)name.size + 1);
  if (!text) return cJSON_CreateNull();
  memcpy(text, name.bytes, name.size);
  text[name.size] = 0;
  cJSON *json = cJSON_CreateString(text);
  free(text);
  return json;
}

static void limits_print(const struct limits *l, const char *unit, char *out, size_t size) {
  if (l->has_max)
    snprintf(out, size, "%" PRIu64 " to %" PRIu64 " %s", l->min, l->max, unit);
  else
    snprintf(out, size, "%" PRIu64 " %s or more", l->min, unit);
}

/* The type of an import or export, in the text format's words. */
static void extern_type_print(const struct module *m, enum extern_kind kind, uint32_t index, char *out, size_t size) {
  char inner[32], limits[96];
  switch (kind) {
  case EXTERN_FUNC: func_type_print(&m->types[m->funcs[index].type].func, out, size); return;
  case EXTERN_TABLE:
    limits_print(&m->tables[index].type.limits, "entries", limits, sizeof limits);
    snprintf(out, size, "%s, %s", val_type_name(m->tables[index].type.elem, inner, sizeof inner), limits);
    return;
  case EXTERN_MEMORY: limits_print(&m->memories[index].type.limits, "pages", out, size); return;
  case EXTERN_GLOBAL:
    snprintf(out, size, "%s%s", m->globals[index].type.is_mutable ? "mut " : "",
             val_type_name(m->globals[index].type.type, inner, sizeof inner));
    return;
  case EXTERN_TAG: snprintf(out, size, "tag"); return;
  }
}

static cJSON *json_extern(const struct module *m, enum extern_kind kind, uint32_t index) {
  static const char *const kinds[] = {"function", "table", "memory", "global", "tag"};
  char type[512] = "";
  extern_type_print(m, kind, index, type, sizeof type);
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "kind", kinds[kind]);
  cli_json_count(json, "index", index);
  cJSON_AddStringToObject(json, "type", type);
  return json;
}

static cJSON *json_imports(const struct module *m) {
  cJSON *array = cJSON_CreateArray();
  for (uint32_t i = 0; i < m->n_imports; i++) {
    cJSON *json = json_extern(m, m->imports[i].kind, m->imports[i].index);
    cJSON_AddItemToObject(json, "module", json_name(m->imports[i].module));
    cJSON_AddItemToObject(json, "name", json_name(m->imports[i].field));
    cJSON_AddItemToArray(array, json);
  }
  return array;
}

static cJSON *json_exports(const struct module *m) {
  cJSON *array = cJSON_CreateArray();
  for (uint32_t i = 0; i < m->n_exports; i++) {
    cJSON *json = json_extern(m, m->exports[i].kind, m->exports[i].index);
    cJSON_AddItemToObject(json, "name", json_name(m->exports[i].name));
    cJSON_AddItemToArray(array, json);
  }
  return array;
}

/* Sections as they stand in the bytes; the module is valid, so that ids and sizes are. */
static cJSON *json_sections(const struct module *m) {
  static const char *const names[] = {"custom", "type",  "import",  "function", "table", "memory",     "global",
                                      "export", "start", "element", "code",     "data",  "data count", "tag"};
  struct gw_error err = {0};
  struct reader r;
  cJSON *array = cJSON_CreateArray();
  reader_init(&r, m->bytes, m->bytes + 8, m->bytes + m->size, &err);
  while (reader_left(&r)) {
    uint8_t id = read_u8(&r);
    uint32_t size = read_u32(&r);
    uint64_t offset = (uint64_t)(r.at - r.start);
    struct reader custom = r;
    read_bytes(&r, size);
    if (r.failed || id >= sizeof names / sizeof *names) break;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "section", names[id]);
    cli_json_count(json, "offset", offset);
    cli_json_count(json, "size", size);
    if (id == 0) {
      uint32_t name_size = read_u32(&custom);
      const uint8_t *name = read_bytes(&custom, name_size);
      if (name) cJSON_AddItemToObject(json, "name", json_name((struct name){(const char *)name, name_size}));
    }
    cJSON_AddItemToArray(array, json);
  }
  return array;
}

static cJSON *json_artifact(const struct artifact *a) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "size", a->size);
  cli_json_count(json, "code_size", a->code_size);
  cli_json_count(json, "opt_level", a->key->opt_level);
  cJSON_AddBoolToObject(json, "gas", a->key->gas);
  cJSON_AddStringToObject(json, "cpu", a->key->cpu);
  return json;
}

static cJSON *summary(const struct inspection *v) {
  const struct module *m = gw_module_decoded(v->module);
  const struct {
    const char *name;
    uint64_t n, imported;
  } counts[] = {
      {"types", m->n_types, 0},
      {"functions", m->n_funcs, m->n_imported_funcs},
      {"tables", m->n_tables, m->n_imported_tables},
      {"memories", m->n_memories, m->n_imported_memories},
      {"globals", m->n_globals, m->n_imported_globals},
      {"element segments", m->n_elems, 0},
      {"data segments", m->n_datas, 0},
  };
  char digest[DIGEST_HEX_SIZE];
  digest_print((const struct digest *)gw_module_digest(v->module), digest);
  cJSON *json = cJSON_CreateObject(), *numbers = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "digest", digest);
  cli_json_count(json, "size", m->size);
  cli_json_count(json, "code_size", m->code_size);
  cJSON_AddStringToObject(json, "interface", interface_of(m));
  if (m->name.size) cJSON_AddItemToObject(json, "name", json_name(m->name));
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    cJSON *one = cJSON_AddObjectToObject(numbers, counts[i].name);
    cli_json_count(one, "defined", counts[i].n - counts[i].imported);
    cli_json_count(one, "imported", counts[i].imported);
  }
  cJSON_AddItemToObject(json, "counts", numbers);
  cJSON_AddItemToObject(json, "imports", json_imports(m));
  cJSON_AddItemToObject(json, "exports", json_exports(m));
  cJSON_AddItemToObject(json, "sections", json_sections(m));
  if (v->is_compiled) cJSON_AddItemToObject(json, "artifact", json_artifact(&v->artifact));
  return json;
}

static const char *text_of(const cJSON *json, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, name));
  return text ? text : "";
}

static double number_of(const cJSON *json, const char *name) { return cJSON_GetNumberValue(cJSON_GetObjectItem(json, name)); }

static void print_externs(const cJSON *array, const char *title) {
  const cJSON *e;
  if (cJSON_GetArraySize(array)) printf("\n%s\n", title);
  cJSON_ArrayForEach(e, array) {
    const char *module = text_of(e, "module");
    printf("  %-8s %s%s%s  %s\n", text_of(e, "kind"), module, *module ? "." : "", text_of(e, "name"), text_of(e, "type"));
  }
}

static void print_artifact(const cJSON *json) {
  if (!json) return;
  printf("artifact   %.0f bytes, of them %.0f machine code\ncompiled   -O%.0f, gas %s, for CPU %s\n", number_of(json, "size"),
         number_of(json, "code_size"), number_of(json, "opt_level"),
         cJSON_IsTrue(cJSON_GetObjectItem(json, "gas")) ? "on" : "off", text_of(json, "cpu"));
}

/* The same facts as the JSON form, for people. */
static void print_summary(const cJSON *json) {
  const cJSON *one;
  print_artifact(cJSON_GetObjectItem(json, "artifact"));
  printf("digest     %s\nsize       %.0f bytes, of them %.0f code\ninterface  %s\n", text_of(json, "digest"),
         number_of(json, "size"), number_of(json, "code_size"), text_of(json, "interface"));
  if (*text_of(json, "name")) printf("name       %s\n", text_of(json, "name"));
  puts("");
  cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "counts")) {
    printf("%-17s %6.0f", one->string, number_of(one, "defined"));
    if (number_of(one, "imported") > 0) printf(" and %.0f imported", number_of(one, "imported"));
    puts("");
  }
  print_externs(cJSON_GetObjectItem(json, "imports"), "imports");
  print_externs(cJSON_GetObjectItem(json, "exports"), "exports");
  puts("\nsections");
  cJSON_ArrayForEach(one, cJSON_GetObjectItem(json, "sections"))
      printf("  0x%06" PRIx64 " %9.0f bytes  %s %s\n", (uint64_t)number_of(one, "offset"), number_of(one, "size"),
             text_of(one, "section"), text_of(one, "name"));
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static bool dump(struct inspection *v, enum gw_dump kind, struct gw_error *err) {
  char *text = gw_module_dump(v->module, kind, v->cpu, err);
  if (text) fputs(text, stdout);
  free(text);
  return text != NULL;
}

static void print_text(const struct module *m) {
  struct buffer out = {0};
  disassemble_module(m, &out);
  fwrite(out.bytes, 1, out.size, stdout);
  buffer_clear(&out);
}

static bool show(struct inspection *v, struct gw_error *err) {
  const struct module *m = gw_module_decoded(v->module);
  bool wants_summary = !v->gas && !v->ir && !v->ir_fresh && !v->assembly && !v->text;
  if (wants_summary) {
    cJSON *json = summary(v);
    if (!v->is_json) cli_make_plain(json);
    if (!v->is_json) print_summary(json);
    if (v->is_json)
      cli_print_json(json, false);
    else
      cJSON_Delete(json);
  }
  if (v->gas) cli_print_gas(m, &v->schedule, v->is_json);
  if (v->text) print_text(m);
  if (v->ir_fresh && !dump(v, GW_DUMP_IR_FRESH, err)) return false;
  if (v->ir && !dump(v, GW_DUMP_IR, err)) return false;
  return !v->assembly || dump(v, GW_DUMP_ASM, err);
}

static bool load(struct inspection *v, struct gw_error *err) {
  const uint8_t *module = v->bytes.bytes;
  size_t size = v->bytes.size;
  v->is_compiled = artifact_is(module, size);
  if (v->is_compiled) {
    if (!artifact_check(module, size, &v->artifact, err)) return false;
    module = v->artifact.module;
    size = v->artifact.module_size;
  }
  if (file_is_module(module, size, err)) v->module = gw_module_create(v->engine, module, size, err);
  return v->module != NULL;
}

static bool inspect(struct inspection *v, const char *file, struct gw_error *err) {
  struct gw_engine_options options = {.opt_level = v->opt_level, .gas = v->meter, .loose_traps = true, .schedule = &v->schedule};
  if (!cli_read_schedule(v->schedule_path, &v->schedule, err) || !cli_read_file(&v->bytes, file, err)) return false;
  v->engine = gw_engine_create(&options, err);
  if (!v->engine) return false;
  if (load(v, err)) return show(v, err);
  cli_name_file(err, file);
  return false;
}

int cli_inspect(int argc, char **argv) {
  struct inspection v = {.opt_level = 2, .meter = true};
  const struct cli_option options[] = {
      {"gas", 0, CLI_FLAG, &v.gas, NULL, "static gas of every function and gas block, and known counts of loops"},
      {"wat", 0, CLI_FLAG, &v.text, NULL, "the text form, with byte offsets"},
      {"ir-fresh", 0, CLI_FLAG, &v.ir_fresh, NULL, "LLVM IR as lowering makes it, with charge markers"},
      {"ir", 0, CLI_FLAG, &v.ir, NULL, "LLVM IR after metering and optimisation"},
      {"asm", 0, CLI_FLAG, &v.assembly, NULL, "the machine code"},
      {"optimize", 'O', CLI_LEVEL, &v.opt_level, "0..3", "optimisation level of --ir and --asm; 2 unless told"},
      {"meter", 0, CLI_ON_OFF, &v.meter, "on|off", "meter gas in --ir and --asm; on unless told"},
      {"cpu", 0, CLI_TEXT, &v.cpu, "NAME",
       "CPU of --ir and --asm, as LLVM calls it (x86-64-v3, znver4); this machine's unless told"},
      {"schedule", 0, CLI_TEXT, &v.schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"json", 0, CLI_FLAG, &v.is_json, NULL, "the summary, or --gas, as JSON"},
  };
  const struct cli_command command = {
      .name = "inspect",
      .arguments = "FILE.{wasm,gwa}",
      .description =
          "Validates a module and shows its summary, or what the options name; of an artifact also for whom it was compiled.\n"
          "FILE - is standard input.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  exit_code = inspect(&v, argv[0], &err) ? 0 : cli_fail(&err);
  gw_module_release(v.module);
  gw_engine_destroy(v.engine);
  buffer_clear(&v.bytes);
  return exit_code;
}
