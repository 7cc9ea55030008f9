/* A linker for what the code generator makes of our IR, which is little: code and constants, no data to write, no symbols but our
 * own (frontend/lower/lower.h), and relative relocations only, so that the result runs wherever it is mapped.
 *
 * libelf reads the objects. All code is laid out first, in the order of the parts, then all constants. */
#include "jit/link.h"

#include "base/error.h"
#include "base/heap.h"
#include "frontend/lower/lower.h"

#include <gelf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT64_MAX

/* One object file. */
struct object {
  Elf *elf;
  size_t n_sections;
  uint64_t *places; /* [n_sections] in the image, or NOWHERE */
  Elf_Data *symbols;
  size_t n_symbols, names; /* names: index of the string table */
};

struct linker {
  const struct module *m;
  struct image *out;
  struct object *objects;
  uint32_t n;
  struct gw_error *err;
};

static bool fail(struct linker *l, const char *what, const char *name) {
  return error_set(l->err, GW_ERROR_COMPILE, "cannot link compiled code: it %s%s%s", what, name ? " " : "", name ? name : "");
}

static bool section_at(const struct object *o, size_t index, Elf_Scn **section, GElf_Shdr *header) {
  *section = elf_getscn(o->elf, index);
  return *section && gelf_getshdr(*section, header);
}

static bool open_object(struct linker *l, struct object *o, LLVMMemoryBufferRef buffer) {
  o->elf = elf_memory((char *)LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  if (!o->elf || elf_getshdrnum(o->elf, &o->n_sections)) return fail(l, "is no object file:", elf_errmsg(-1));
  o->places = heap_new(o->n_sections, sizeof *o->places);
  for (size_t i = 0; i < o->n_sections; i++) {
    Elf_Scn *section;
    GElf_Shdr header;
    o->places[i] = NOWHERE;
    if (!section_at(o, i, &section, &header) || header.sh_type != SHT_SYMTAB) continue;
    o->symbols = elf_getdata(section, NULL);
    o->n_symbols = header.sh_size / header.sh_entsize;
    o->names = header.sh_link;
  }
  return o->symbols || fail(l, "has no symbols", NULL);
}

/* --- layout ---------------------------------------------------------------------------------------------------------- */

static bool place_sections(struct linker *l, struct object *o, bool is_code, uint64_t *size) {
  for (size_t i = 1; i < o->n_sections; i++) {
    Elf_Scn *section;
    GElf_Shdr header;
    if (!section_at(o, i, &section, &header) || !(header.sh_flags & SHF_ALLOC) || !header.sh_size) continue;
    if (header.sh_type != SHT_PROGBITS || header.sh_flags & (SHF_WRITE | SHF_TLS))
      return fail(l, "has a section that is neither code nor constant,", elf_strptr(o->elf, o->names, header.sh_name));
    if (!!(header.sh_flags & SHF_EXECINSTR) != is_code) continue;
    uint64_t align = header.sh_addralign ? header.sh_addralign : 1;
    *size = (*size + align - 1) & ~(align - 1);
    o->places[i] = *size;
    *size += header.sh_size;
  }
  return true;
}

static bool place(struct linker *l) {
  uint64_t size = 0;
  for (uint32_t i = 0; i < l->n; i++)
    if (!place_sections(l, &l->objects[i], true, &size)) return false;
  l->out->code_size = size;
  size = (size + IMAGE_PAGE - 1) & ~(uint64_t)(IMAGE_PAGE - 1);
  for (uint32_t i = 0; i < l->n; i++)
    if (!place_sections(l, &l->objects[i], false, &size)) return false;
  l->out->size = size;
  if (size > INT32_MAX) return fail(l, "is larger than 2 GiB", NULL);
  l->out->bytes = calloc(1, size ? size : 1);
  return l->out->bytes || error_set(l->err, GW_ERROR_OUT_OF_MEMORY, "no memory for %zu bytes of code", (size_t)size);
}

static void copy_sections(struct linker *l, struct object *o) {
  for (size_t i = 1; i < o->n_sections; i++) {
    Elf_Scn *section = elf_getscn(o->elf, i);
    if (o->places[i] == NOWHERE) continue;
    Elf_Data *data = elf_getdata(section, NULL);
    memcpy(l->out->bytes + o->places[i], data->d_buf, data->d_size);
  }
}

/* --- symbols --------------------------------------------------------------------------------------------------------- */

uint32_t link_index(const struct module *m, const char *name) {
  static const char *const kinds[] = {LOWER_FUNC, LOWER_IMPORT, LOWER_ENTRY};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    size_t size = strlen(kinds[i]);
    char *end;
    if (strncmp(name, kinds[i], size) != 0) continue;
    unsigned long index = strtoul(name + size, &end, 10);
    bool is_entry = i == 2;
    if (end == name + size || *end || index >= (is_entry ? m->n_types : m->n_funcs)) continue;
    return (uint32_t)(is_entry ? m->n_funcs + index : index);
  }
  return IMAGE_NONE;
}

/* Where the offset of the symbol with this name belongs, or NULL if it is none of ours. */
static uint32_t *offset_of(const struct linker *l, const char *name) {
  uint32_t index = link_index(l->m, name);
  return index == IMAGE_NONE ? NULL : &l->out->offsets[index];
}

static void define_symbols(struct linker *l, struct object *o) {
  for (size_t i = 1; i < o->n_symbols; i++) {
    GElf_Sym symbol;
    gelf_getsym(o->symbols, (int)i, &symbol);
    bool is_defined = symbol.st_shndx != SHN_UNDEF && symbol.st_shndx < o->n_sections;
    if (!is_defined || GELF_ST_BIND(symbol.st_info) != STB_GLOBAL || o->places[symbol.st_shndx] == NOWHERE) continue;
    uint32_t *offset = offset_of(l, elf_strptr(o->elf, o->names, symbol.st_name));
    if (offset) *offset = (uint32_t)(o->places[symbol.st_shndx] + symbol.st_value);
  }
}

static bool find_symbol(struct linker *l, struct object *o, size_t index, uint64_t *at) {
  GElf_Sym symbol;
  if (!gelf_getsym(o->symbols, (int)index, &symbol)) return fail(l, "refers to no symbol", NULL);
  if (symbol.st_shndx != SHN_UNDEF && symbol.st_shndx < o->n_sections && o->places[symbol.st_shndx] != NOWHERE) {
    *at = o->places[symbol.st_shndx] + symbol.st_value;
    return true;
  }
  const char *name = elf_strptr(o->elf, o->names, symbol.st_name);
  const uint32_t *offset = name ? offset_of(l, name) : NULL;
  if (!offset || *offset == IMAGE_NONE) return fail(l, "needs the symbol", name ? name : "?");
  *at = *offset;
  return true;
}

/* --- relocations ------------------------------------------------------------------------------------------------------- */

static bool relocate(struct linker *l, struct object *o, uint64_t place, const GElf_Rela *rela) {
  uint64_t target, at = place + rela->r_offset;
  if (!find_symbol(l, o, GELF_R_SYM(rela->r_info), &target)) return false;
  int64_t value = (int64_t)(target + (uint64_t)rela->r_addend - at);
  uint64_t type = GELF_R_TYPE(rela->r_info);
  if (type != R_X86_64_PC32 && type != R_X86_64_PLT32) return fail(l, "has an absolute relocation", NULL);
  if (at + 4 > l->out->size || value < INT32_MIN || value > INT32_MAX) return fail(l, "has a relocation out of range", NULL);
  memcpy(l->out->bytes + at, &value, 4);
  return true;
}

static bool relocate_object(struct linker *l, struct object *o) {
  for (size_t i = 1; i < o->n_sections; i++) {
    Elf_Scn *section;
    GElf_Shdr header;
    if (!section_at(o, i, &section, &header) || header.sh_type != SHT_RELA) continue;
    if (header.sh_info >= o->n_sections || o->places[header.sh_info] == NOWHERE) continue;
    Elf_Data *data = elf_getdata(section, NULL);
    for (size_t k = 0; k < header.sh_size / header.sh_entsize; k++) {
      GElf_Rela rela;
      gelf_getrela(data, (int)k, &rela);
      if (!relocate(l, o, o->places[header.sh_info], &rela)) return false;
    }
  }
  return true;
}

static bool link(struct linker *l, const LLVMMemoryBufferRef *buffers) {
  for (uint32_t i = 0; i < l->n; i++)
    if (!open_object(l, &l->objects[i], buffers[i])) return false;
  if (!place(l)) return false;
  for (uint32_t i = 0; i < l->n; i++) {
    copy_sections(l, &l->objects[i]);
    define_symbols(l, &l->objects[i]);
  }
  for (uint32_t i = 0; i < l->n; i++)
    if (!relocate_object(l, &l->objects[i])) return false;
  return true;
}

bool link_objects(const LLVMMemoryBufferRef *buffers, uint32_t n, const struct module *m, struct image *out,
                  struct gw_error *err) {
  elf_version(EV_CURRENT);
  struct linker l = {.m = m, .out = out, .n = n, .err = err, .objects = heap_new(n, sizeof *l.objects)};
  size_t n_offsets = (size_t)m->n_funcs + m->n_types;
  out->offsets = heap_new(n_offsets, sizeof *out->offsets);
  for (size_t i = 0; i < n_offsets; i++) out->offsets[i] = IMAGE_NONE;
  bool ok = link(&l, buffers);
  for (uint32_t i = 0; i < n; i++) {
    if (l.objects[i].elf) elf_end(l.objects[i].elf);
    free(l.objects[i].places);
  }
  free(l.objects);
  return ok;
}
