/* libdw reads ELF files, so one is made in memory: a section for each custom section that is needed, nothing else. Addresses in
 * it count from the start of the code section's contents. Functions that the linker has dropped (address 0) are left out.
 *
 * What a module says about itself is not to be trusted, and the server's loops ask while requests wait. libdw checks what it
 * reads, but has no limit of time or memory. So nothing is asked of it that could take one call long (source_check.h); between
 * calls the clock is looked at; and a module that has used up its allowance has no source lines until time has refilled it. */
#include "runtime/debug/source.h"

#include "base/array.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/heap.h"
#include "frontend/reader.h"
#include "runtime/debug/source_check.h"
#include "runtime/engine.h"

#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_INLINED = 32, MAX_DEPTH = 200, MAX_SEEN = 100000, MAX_LINE_TABLES = 64, SECTION_CUSTOM = 0, SECTION_CODE = 10 };

/* What is copied for libdw. Not .debug_types and split units: no compiler makes them for Wasm, and libdw would look for files. */
enum { DEBUG_INFO, DEBUG_ABBREV, DEBUG_LINE, MAX_SECTIONS = 9 };
static const char *const section_names[MAX_SECTIONS] = {
    ".debug_info",   ".debug_abbrev",   ".debug_line", ".debug_str",         ".debug_line_str",
    ".debug_ranges", ".debug_rnglists", ".debug_addr", ".debug_str_offsets",
};

struct source_info {
  struct buffer image; /* the ELF file */
  struct debug_bytes line;
  Elf *elf;
  Dwarf *dwarf; /* NULL: no debug information, or none that is read */
  uint64_t code_offset;
  uint64_t line_tables[MAX_LINE_TABLES]; /* which libdw has decoded, and keeps */
  size_t n_line_tables, line_bytes;
  uint64_t debt, paid_at; /* ns: work that is not refilled yet, as of when */
};

/* --- time --------------------------------------------------------------------------------------------------------------- */

enum {
  ALLOWANCE_NS = 250000000, /* rustc's library and all its lines: 10 ms */
  FREE_NS = 1000000,        /* of each lookup; ordinary ones never get into debt */
  REFILL = 20               /* a nanosecond for each so many */
};

/* Work is counted in the thread's own time, so that a busy machine takes no source lines away; that clock is a system call. */
struct deadline {
  uint64_t wall, cpu;
};

static uint64_t cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

/* A thread's own time runs no faster than the other. */
static bool is_late(const struct deadline *d) { return clock_ns(CLOCK_MONOTONIC) >= d->wall && cpu_ns() >= d->cpu; }

/* When a lookup that begins now must end. False: it must not begin. */
static bool allow(struct source_info *info, uint64_t cpu, struct deadline *out) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC), paid = (now - info->paid_at) / REFILL;
  info->debt = info->debt > paid ? info->debt - paid : 0;
  info->paid_at = now;
  if (info->debt >= ALLOWANCE_NS) return false;
  *out = (struct deadline){now + ALLOWANCE_NS - info->debt, cpu + ALLOWANCE_NS - info->debt};
  return true;
}

static void charge(struct source_info *info, uint64_t from_cpu) {
  uint64_t used = cpu_ns() - from_cpu;
  if (used > FREE_NS) info->debt += used - FREE_NS;
}

/* --- the file in memory --------------------------------------------------------------------------------------------- */

static int section_index(const uint8_t *name, size_t size) {
  for (int i = 0; i < MAX_SECTIONS; i++)
    if (strlen(section_names[i]) == size && memcmp(name, section_names[i], size) == 0) return i;
  return -1;
}

/* The sections of section_names, and where the code section's contents begin. False: none is to be read. */
static bool find_sections(const struct gw_module *module, struct debug_bytes *out, uint64_t *code_offset) {
  enum { HEADER = 8 };
  struct gw_error ignored = {0};
  struct reader r;
  size_t bytes = 0;
  reader_init(&r, module->bytes, module->bytes + HEADER, module->bytes + module->size, &ignored);
  while (reader_left(&r) && !r.failed) {
    uint8_t id = read_u8(&r);
    uint32_t size = read_u32(&r);
    const uint8_t *at = read_bytes(&r, size);
    if (!at) return false;
    if (id == SECTION_CODE) *code_offset = (uint64_t)(at - module->bytes);
    if (id != SECTION_CUSTOM) continue;
    struct reader part;
    reader_init(&part, module->bytes, at, at + size, &ignored);
    uint32_t name_size = read_u32(&part);
    const uint8_t *name = read_bytes(&part, name_size);
    int index = name ? section_index(name, name_size) : -1;
    if (index < 0 || out[index].bytes) continue;
    bytes += reader_left(&part);
    out[index] = (struct debug_bytes){part.at, reader_left(&part)};
  }
  return bytes <= MAX_DEBUG_BYTES && debug_is_ordinary(out[DEBUG_INFO], out[DEBUG_ABBREV]);
}

/* Section headers first, then their names, then their contents. Sections that a module does not have are empty. */
static void build_image(struct buffer *image, const struct debug_bytes *sections) {
  enum { N_HEADERS = MAX_SECTIONS + 2 }; /* the null section, and the names */
  static const char names_name[] = ".shstrtab";
  Elf64_Shdr headers[N_HEADERS] = {{0}};
  struct buffer names = {0};
  buffer_append(&names, "", 1);
  size_t at = sizeof(Elf64_Ehdr) + sizeof headers;
  for (size_t i = 0; i < MAX_SECTIONS; i++) {
    headers[i + 1] = (Elf64_Shdr){.sh_name = (Elf64_Word)names.size, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_addralign = 1};
    headers[i + 1].sh_size = sections[i].size;
    at += sections[i].size;
    buffer_append(&names, section_names[i], strlen(section_names[i]) + 1);
  }
  headers[N_HEADERS - 1] =
      (Elf64_Shdr){.sh_name = (Elf64_Word)names.size, .sh_type = SHT_STRTAB, .sh_offset = at, .sh_addralign = 1};
  buffer_append(&names, names_name, sizeof names_name);
  headers[N_HEADERS - 1].sh_size = names.size;
  Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_version = EV_CURRENT,
                       .e_shoff = sizeof header,
                       .e_ehsize = sizeof header,
                       .e_shentsize = sizeof headers[0],
                       .e_shnum = N_HEADERS,
                       .e_shstrndx = N_HEADERS - 1};
  buffer_append(image, &header, sizeof header);
  buffer_append(image, headers, sizeof headers);
  for (size_t i = 0; i < MAX_SECTIONS; i++)
    if (sections[i].size) buffer_append(image, sections[i].bytes, sections[i].size);
  buffer_append(image, names.bytes, names.size);
  buffer_clear(&names);
}

static void open_dwarf(struct source_info *info, const struct gw_module *module) {
  struct debug_bytes sections[MAX_SECTIONS] = {{0}};
  if (!find_sections(module, sections, &info->code_offset)) return;
  info->line = sections[DEBUG_LINE]; /* the module's bytes outlive this */
  build_image(&info->image, sections);
  elf_version(EV_CURRENT);
  info->elf = elf_memory((char *)info->image.bytes, info->image.size);
  if (info->elf) info->dwarf = dwarf_begin_elf(info->elf, DWARF_C_READ, NULL);
}

static struct source_info *open_info(const struct gw_module *module) {
  struct source_info *info = heap_new(1, sizeof *info);
  uint64_t cpu = cpu_ns();
  info->paid_at = clock_ns(CLOCK_MONOTONIC);
  open_dwarf(info, module);
  charge(info, cpu);
  return info;
}

void source_destroy(struct source_info *info) {
  if (!info) return;
  if (info->dwarf) dwarf_end(info->dwarf);
  if (info->elf) elf_end(info->elf);
  buffer_clear(&info->image);
  free(info);
}

/* --- places ------------------------------------------------------------------------------------------------------------ */

/* The compilation unit whose code holds `pc`. */
static bool find_unit(Dwarf *dwarf, Dwarf_Addr pc, const struct deadline *deadline, Dwarf_Die *out) {
  Dwarf_CU *unit = NULL;
  while (!is_late(deadline) && dwarf_get_units(dwarf, unit, &unit, NULL, NULL, out, NULL) == 0)
    if (dwarf_haspc(out, pc) > 0) return true;
  return false;
}

static uint32_t number_of(Dwarf_Die *die, unsigned name) {
  Dwarf_Attribute attribute;
  Dwarf_Word value = 0;
  if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &value) != 0) return 0;
  return (uint32_t)value;
}

/* Whether a unit's line table may be decoded: it stays in memory, and a module gets so much of that. */
static bool may_read_lines(struct source_info *info, Dwarf_Die *unit) {
  uint64_t offset = number_of(unit, DW_AT_stmt_list);
  for (size_t i = 0; i < info->n_line_tables; i++)
    if (info->line_tables[i] == offset) return true;
  size_t size = debug_line_size(info->line, offset);
  if (info->n_line_tables == MAX_LINE_TABLES || size > MAX_LINE_BYTES - info->line_bytes) return false;
  info->line_tables[info->n_line_tables++] = offset;
  info->line_bytes += size;
  return true;
}

/* Where the inlined function was called. */
static struct source_place call_site(Dwarf_Die *unit, Dwarf_Die *inlined) {
  Dwarf_Files *files;
  size_t n_files;
  uint32_t file = number_of(inlined, DW_AT_call_file);
  struct source_place place = {.line = number_of(inlined, DW_AT_call_line), .column = number_of(inlined, DW_AT_call_column)};
  if (dwarf_getsrcfiles(unit, &files, &n_files) == 0 && file < n_files) place.file = dwarf_filesrc(files, file, NULL, NULL);
  return place;
}

static struct source_place line_of(Dwarf_Die *unit, Dwarf_Addr pc) {
  struct source_place place = {0};
  int line = 0, column = 0;
  Dwarf_Line *found = dwarf_getsrc_die(unit, pc);
  if (!found || dwarf_lineno(found, &line) != 0) return place;
  dwarf_linecol(found, &column);
  place.file = dwarf_linesrc(found, NULL, NULL);
  place.line = (uint32_t)line;
  place.column = (uint32_t)column;
  return place;
}

/* What holds the place, outermost first: a function, then what was inlined into it, and into that. */
struct scopes {
  Dwarf_Die at[MAX_INLINED + 1];
  int n, n_seen;
  const struct deadline *deadline;
};

static bool may_go_on(struct scopes *s) { return ++s->n_seen < MAX_SEEN && !is_late(s->deadline); }

static bool find_scopes(Dwarf_Die *parent, Dwarf_Addr pc, struct scopes *out, int depth);

/* False: the place is not in it. Blocks and namespaces only lead on. */
static bool enter_scope(Dwarf_Die *die, Dwarf_Addr pc, struct scopes *out, int depth) {
  switch (dwarf_tag(die)) {
  case DW_TAG_namespace:
  case DW_TAG_structure_type:
  case DW_TAG_class_type: return find_scopes(die, pc, out, depth);
  case DW_TAG_lexical_block: return dwarf_haspc(die, pc) > 0 && find_scopes(die, pc, out, depth);
  case DW_TAG_subprogram:
  case DW_TAG_inlined_subroutine:
    if (dwarf_haspc(die, pc) <= 0) return false;
    if (out->n <= MAX_INLINED) out->at[out->n++] = *die;
    find_scopes(die, pc, out, depth);
    return true;
  default: return false;
  }
}

/* dwarf_getscopes gives up at the first broken range, and rustc's linker leaves some for functions that it dropped. */
static bool find_scopes(Dwarf_Die *parent, Dwarf_Addr pc, struct scopes *out, int depth) {
  Dwarf_Die die;
  if (depth == MAX_DEPTH || dwarf_child(parent, &die) != 0) return false;
  do {
    if (enter_scope(&die, pc, out, depth + 1)) return true;
  } while (may_go_on(out) && dwarf_siblingof(&die, &die) == 0);
  return false;
}

static size_t find_places(Dwarf_Die *unit, Dwarf_Addr pc, const struct deadline *deadline, struct source_place *places,
                          size_t most) {
  struct scopes scopes = {.deadline = deadline};
  struct source_place place = line_of(unit, pc);
  size_t n = 0;
  find_scopes(unit, pc, &scopes, 0);
  for (int i = scopes.n - 1; i >= 0 && n < most; i--) {
    place.function = dwarf_diename(&scopes.at[i]);
    places[n++] = place;
    if (i > 0) place = call_site(unit, &scopes.at[i]);
  }
  if (n == 0 && place.file && most) places[n++] = place;
  return n;
}

static size_t look_up(struct source_info *info, uint64_t offset, struct source_place *places, size_t most) {
  Dwarf_Die unit;
  struct deadline deadline;
  size_t n = 0;
  uint64_t cpu = cpu_ns();
  if (!info->dwarf || offset <= info->code_offset || !allow(info, cpu, &deadline)) return 0;
  uint64_t pc = offset - info->code_offset;
  if (find_unit(info->dwarf, pc, &deadline, &unit) && may_read_lines(info, &unit))
    n = find_places(&unit, pc, &deadline, places, most);
  charge(info, cpu);
  return is_late(&deadline) ? 0 : n; /* what was found too late may lack levels */
}

size_t source_find(struct gw_module *module, uint64_t offset, struct source_place *places, size_t most) {
  pthread_mutex_lock(&module->source_lock);
  if (!module->source) module->source = open_info(module);
  size_t n = look_up(module->source, offset, places, most);
  pthread_mutex_unlock(&module->source_lock);
  return n;
}

/* --- all lines ---------------------------------------------------------------------------------------------------------- */

struct all_lines {
  struct source_lines *out;
  size_t capacity, bytes; /* of line programs */
  uint64_t base, limit;   /* of the code section's contents; addresses from `limit` on are of functions that were dropped */
};

static struct source_line *add_row(struct all_lines *all) {
  struct source_lines *out = all->out;
  if (out->n == all->capacity) array_grow(out->rows, all->capacity, 1024);
  return &out->rows[out->n++];
}

/* Line 0 is no place: what goes on there belongs to the line before. The end of a sequence is where nobody knows more. */
static void add_line(struct all_lines *all, Dwarf_Line *line) {
  Dwarf_Addr address;
  bool is_end = false;
  int number = 0, column = 0;
  if (dwarf_lineaddr(line, &address) != 0 || address == 0 || address >= all->limit) return;
  dwarf_lineendsequence(line, &is_end);
  if (!is_end && (dwarf_lineno(line, &number) != 0 || number <= 0)) return;
  dwarf_linecol(line, &column);
  *add_row(all) = (struct source_line){.offset = all->base + address,
                                       .file = is_end ? NULL : dwarf_linesrc(line, NULL, NULL),
                                       .line = (uint32_t)number,
                                       .column = (uint32_t)column};
}

static void add_unit(struct all_lines *all, struct debug_bytes table, Dwarf_Die *unit) {
  Dwarf_Lines *lines;
  size_t n, size = debug_line_size(table, number_of(unit, DW_AT_stmt_list));
  if (size > MAX_ALL_LINE_BYTES - all->bytes) return;
  all->bytes += size;
  if (dwarf_getsrclines(unit, &lines, &n) != 0) return;
  for (size_t i = 0; i < n; i++) add_line(all, dwarf_onesrcline(lines, i));
}

/* Where one sequence ends and another begins, the beginning counts. */
static int compare_rows(const void *a, const void *b) {
  const struct source_line *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  return (x->file != NULL) - (y->file != NULL);
}

static void read_lines(struct source_info *info, struct all_lines *all) {
  enum { SECONDS = 3 };
  uint64_t most = SECONDS * UINT64_C(1000000000);
  struct deadline deadline = {clock_ns(CLOCK_MONOTONIC) + most, cpu_ns() + most};
  Dwarf_CU *unit = NULL;
  Dwarf_Die die;
  while (!is_late(&deadline) && dwarf_get_units(info->dwarf, unit, &unit, NULL, NULL, &die, NULL) == 0)
    add_unit(all, info->line, &die);
  if (all->out->n) qsort(all->out->rows, all->out->n, sizeof *all->out->rows, compare_rows);
}

void source_read_lines(struct gw_module *module, struct source_lines *out) {
  pthread_mutex_lock(&module->source_lock);
  if (!module->source) module->source = open_info(module);
  struct source_info *info = module->source;
  *out = (struct source_lines){0};
  struct all_lines all = {.out = out, .base = info->code_offset, .limit = module->size - info->code_offset};
  if (info->dwarf) read_lines(info, &all);
  pthread_mutex_unlock(&module->source_lock);
}
