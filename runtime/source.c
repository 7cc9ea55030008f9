/* libdw reads ELF files, so one is made in memory: a section for each custom section ".debug_...", nothing else. Addresses in it
 * count from the start of the code section's contents. What a module says about itself is not to be trusted: libdw checks what
 * it reads, how much of it is looked at is bounded here, and functions that the linker has dropped (address 0) are left out. */
#include "runtime/source.h"

#include "base/buffer.h"
#include "frontend/reader.h"
#include "runtime/engine.h"

#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>

#include <stdlib.h>
#include <string.h>

enum {
  MAX_SECTIONS = 32,
  MAX_INLINED = 32,
  MAX_DEPTH = 200,
  MAX_UNITS = 20000,
  MAX_SEEN = 100000,
  SECTION_CUSTOM = 0,
  SECTION_CODE = 10
};

struct debug_section {
  const uint8_t *bytes;
  size_t size, name_size;
  const char *name;
};

struct source_info {
  struct buffer image; /* the ELF file */
  Elf *elf;
  Dwarf *dwarf; /* NULL: no debug information, or none that can be read */
  uint64_t code_offset;
};

/* --- the file in memory --------------------------------------------------------------------------------------------- */

/* Custom sections called .debug_..., and where the code section's contents begin. Returns how many. */
static size_t find_sections(const struct gw_module *module, struct debug_section *out, uint64_t *code_offset) {
  enum { HEADER = 8 };
  struct gw_error ignored = {0};
  struct reader r;
  size_t n = 0, bytes = 0;
  reader_init(&r, module->bytes, module->bytes + HEADER, module->bytes + module->size, &ignored);
  while (reader_left(&r) && !r.failed) {
    uint8_t id = read_u8(&r);
    uint32_t size = read_u32(&r);
    const uint8_t *at = read_bytes(&r, size);
    if (!at) return 0;
    if (id == SECTION_CODE) *code_offset = (uint64_t)(at - module->bytes);
    if (id != SECTION_CUSTOM || n == MAX_SECTIONS) continue;
    struct reader part;
    reader_init(&part, module->bytes, at, at + size, &ignored);
    uint32_t name_size = read_u32(&part);
    const uint8_t *name = read_bytes(&part, name_size);
    if (!name || name_size < 7 || name_size > 64 || memcmp(name, ".debug_", 7) != 0) continue;
    bytes += reader_left(&part);
    out[n++] = (struct debug_section){part.at, reader_left(&part), name_size, (const char *)name};
  }
  return bytes <= MAX_DEBUG_BYTES ? n : 0;
}

/* Section headers first, then their names, then their contents. */
static void build_image(struct buffer *image, const struct debug_section *sections, size_t n) {
  static const char names_name[] = ".shstrtab";
  size_t n_headers = n + 2; /* the null section, and the names */
  Elf64_Shdr headers[MAX_SECTIONS + 2] = {{0}};
  struct buffer names = {0};
  buffer_append(&names, "", 1);
  size_t at = sizeof(Elf64_Ehdr) + n_headers * sizeof(Elf64_Shdr);
  for (size_t i = 0; i < n; i++) {
    headers[i + 1] = (Elf64_Shdr){.sh_name = (Elf64_Word)names.size, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_addralign = 1};
    headers[i + 1].sh_size = sections[i].size;
    at += sections[i].size;
    buffer_append(&names, sections[i].name, sections[i].name_size);
    buffer_append(&names, "", 1);
  }
  headers[n + 1] = (Elf64_Shdr){.sh_name = (Elf64_Word)names.size, .sh_type = SHT_STRTAB, .sh_offset = at, .sh_addralign = 1};
  buffer_append(&names, names_name, sizeof names_name);
  headers[n + 1].sh_size = names.size;
  Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_version = EV_CURRENT,
                       .e_shoff = sizeof header,
                       .e_ehsize = sizeof header,
                       .e_shentsize = sizeof headers[0],
                       .e_shnum = (Elf64_Half)n_headers,
                       .e_shstrndx = (Elf64_Half)(n + 1)};
  buffer_append(image, &header, sizeof header);
  buffer_append(image, headers, n_headers * sizeof headers[0]);
  for (size_t i = 0; i < n; i++) buffer_append(image, sections[i].bytes, sections[i].size);
  buffer_append(image, names.bytes, names.size);
  buffer_clear(&names);
}

static struct source_info *open_info(const struct gw_module *module) {
  struct debug_section sections[MAX_SECTIONS];
  struct source_info *info = calloc(1, sizeof *info);
  if (!info) abort();
  size_t n = find_sections(module, sections, &info->code_offset);
  if (!n) return info;
  build_image(&info->image, sections, n);
  elf_version(EV_CURRENT);
  info->elf = elf_memory((char *)info->image.bytes, info->image.size);
  if (info->elf) info->dwarf = dwarf_begin_elf(info->elf, DWARF_C_READ, NULL);
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
static bool find_unit(Dwarf *dwarf, Dwarf_Addr pc, Dwarf_Die *out) {
  Dwarf_CU *unit = NULL;
  for (int i = 0; i < MAX_UNITS && dwarf_get_units(dwarf, unit, &unit, NULL, NULL, out, NULL) == 0; i++)
    if (dwarf_haspc(out, pc) > 0) return true;
  return false;
}

static uint32_t number_of(Dwarf_Die *die, unsigned name) {
  Dwarf_Attribute attribute;
  Dwarf_Word value = 0;
  if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &value) != 0) return 0;
  return (uint32_t)value;
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
};

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
  } while (++out->n_seen < MAX_SEEN && dwarf_siblingof(&die, &die) == 0);
  return false;
}

static size_t find_places(Dwarf_Die *unit, Dwarf_Addr pc, struct source_place *places, size_t most) {
  struct scopes scopes = {.n = 0};
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

size_t source_find(struct gw_module *module, uint64_t offset, struct source_place *places, size_t most) {
  size_t n = 0;
  Dwarf_Die unit;
  pthread_mutex_lock(&module->source_lock);
  if (!module->source) module->source = open_info(module);
  const struct source_info *info = module->source;
  if (info->dwarf && offset > info->code_offset && find_unit(info->dwarf, offset - info->code_offset, &unit))
    n = find_places(&unit, offset - info->code_offset, places, most);
  pthread_mutex_unlock(&module->source_lock);
  return n;
}
