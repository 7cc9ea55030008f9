/* The baseline tier: machine code for translated functions, without a compiler.
 *
 * A function is translated as for the interpreter (runtime/precise/translate.c), and each of its instructions becomes machine
 * code at once (runtime/precise/baseline_emit.c); the instructions are not kept. Frames, slots, gas, depth, traps and exceptions
 * are the interpreter's, to the byte: what has no machine code of its own runs the interpreter's handler, with its instruction
 * embedded in the code and followed by one whose handler is the code behind. So a frame may return to either kind of code, and
 * callers do not ask which kind they call: an instruction's `run` leads to both.
 *
 * An address in a function's code stands for the instruction it belongs to: as pc of a trap, or as the call that a frame returns
 * to. Nothing is kept to find it: the function is translated and emitted again, which says where each instruction began.
 *
 * Code lies in one range of addresses per module, reserved when the module is made, so that functions reach the code that they
 * share by near calls. Functions that are made at once lie side by side, the next begins on a page of its own: while pages are
 * written they are writable and not executable, and never again afterwards. */
#include "runtime/precise/baseline.h"

#include "runtime/arch/exhausted.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct baseline {
  uint8_t *base;
  size_t reserved, used; /* bytes; `used` is whole pages, all executable */
  size_t pending;        /* bytes behind them that are being written */
  bool is_closed;        /* there is no memory for more */
  uint32_t stubs[N_STUBS];
  struct baseline_output output;
  struct precise_stats stats;
};

/* --- shared code ---------------------------------------------------------------------------------------------------------- */

/* Behind a charge: pc is where the stub was called from. */
static void charge_again(struct gw_store *store, const struct precise_insn *pc) {
  store->precise.pc = pc;
  gas_exhausted(&store->exec, 0);
}

/* The registers that a call loses are kept on the fiber's stack; the counter may have got more. */
static void emit_charge_stub(struct x86 *x) {
  static const uint8_t kept[] = {RDX, RSI, RDI, R8, R9, R10, R11};
  enum { N_KEPT = sizeof kept, FIRST_XMM = 2, SPACE = (16 - FIRST_XMM) * 16 + 8 };
  x86_rm(x, W64, 0x89, RBX, R14, 0);
  for (int i = 0; i < N_KEPT; i++) x86_opcode(x, W32, 0x50u | (kept[i] & 7), 0, 0, kept[i], false); /* push */
  x86_ri(x, W64, 5, RSP, SPACE);
  for (int i = FIRST_XMM; i < 16; i++) x86_rm(x, W32, 0x0f11, i, RSP, (i - FIRST_XMM) * 16);
  x86_move(x, W64, RDI, R14);
  x86_rm(x, W64, 0x8b, RSI, RSP, SPACE + N_KEPT * 8);
  x86_constant(x, RAX, (uintptr_t)charge_again);
  x86_rr(x, W32, 0xff, 2, RAX);
  for (int i = FIRST_XMM; i < 16; i++) x86_rm(x, W32, 0x0f10, i, RSP, (i - FIRST_XMM) * 16);
  x86_ri(x, W64, 0, RSP, SPACE);
  for (int i = N_KEPT; i-- > 0;) x86_opcode(x, W32, 0x58u | (kept[i] & 7), 0, 0, kept[i], false); /* pop */
  x86_rm(x, W64, 0x8b, RBX, R14, 0);
  x86_byte(x, 0xc3);
}

#define TRAP_ACCESS(size)                                                               \
  static __attribute__((preserve_none)) void trap_access_##size(PARAMS, uint64_t end) { \
    (void)fp, (void)vmctx;                                                              \
    precise_trap_access(pc, store, memory, end - (size));                               \
  }
TRAP_ACCESS(1)
TRAP_ACCESS(2)
TRAP_ACCESS(4)
TRAP_ACCESS(8)
TRAP_ACCESS(16)

static HANDLER(leave) {
  vmctx = store->precise.frame->vmctx;
  memory = precise_memory0(vmctx);
  DISPATCH;
}

static void emit_stubs(struct baseline *b, struct x86 *x) {
  void *const access[] = {(void *)trap_access_1, (void *)trap_access_2, (void *)trap_access_4, (void *)trap_access_8,
                          (void *)trap_access_16};
  for (int i = 0; i < N_STUBS; i++) {
    x86_reserve(x, X86_ROOM);
    while (x->n % 16) x86_byte(x, 0xcc);
    b->stubs[i] = x->n;
    if (i == STUB_CHARGE) {
      emit_charge_stub(x);
      continue;
    }
    if (i < STUB_CALL) x86_opcode(x, W32, 0x58 | (R12 & 7), 0, 0, R12, false); /* pop */
    x86_rm(x, W64, 0x89, RBX, R14, 0);
    if (i == STUB_CALL) {
      x86_rm(x, W64, 0x8b, R15, R14, offsetof(struct gw_store, precise.frame));
      x86_rm(x, W64, 0x8b, R15, R15, offsetof(struct precise_frame, vmctx));
      x86_ri(x, W64, 5, R12, sizeof(struct precise_insn));
      x86_rm(x, W32, 0xff, 4, R12, 0);
      continue;
    }
    if (i >= STUB_ACCESS && i < STUB_CALL) x86_move(x, W64, RSI, RAX);
    void *to = i == STUB_LEAVE ? (void *)leave : access[i - STUB_ACCESS];
    x86_constant(x, RAX, (uintptr_t)to);
    x86_rr(x, W32, 0xff, 4, RAX);
  }
}

enum { CODE_ALIGNMENT = 16 };

/* --- memory ---------------------------------------------------------------------------------------------------------------- */

static size_t whole_pages(size_t n) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (n + page - 1) & ~(page - 1);
}

/* n bytes, writable, behind what is pending; NULL: there is no room or memory. */
static uint8_t *begin_code(struct baseline *b, size_t n) {
  if (b->is_closed || n > b->reserved - b->used - b->pending) return NULL;
  size_t had = whole_pages(b->pending), needs = whole_pages(b->pending + n);
  if (needs > had && mprotect(b->base + b->used + had, needs - had, PROT_READ | PROT_WRITE) != 0) return NULL;
  return b->base + b->used + b->pending;
}

/* What was begun n bytes long is pending, too. */
static void end_code(struct baseline *b, size_t n) { b->pending += (n + CODE_ALIGNMENT - 1) & ~(size_t)(CODE_ALIGNMENT - 1); }

/* What is pending may be run. False: it is gone. */
static bool publish_code(struct baseline *b) {
  size_t size = whole_pages(b->pending);
  b->pending = 0;
  b->is_closed = mprotect(b->base + b->used, size, PROT_READ | PROT_EXEC) != 0;
  b->used += size;
  return !b->is_closed;
}

/* Even code without a single instruction of its own for anything takes less. */
enum { MOST_PER_BYTE = 64, LEAST_RESERVED = 1 << 20, MOST_RESERVED = INT32_MAX };

static size_t reservation(const struct module *m) {
  size_t bytes = LEAST_RESERVED;
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs && bytes < MOST_RESERVED; i++)
    bytes += (size_t)(m->funcs[i].end - m->funcs[i].body) * MOST_PER_BYTE + whole_pages(1);
  return bytes < MOST_RESERVED ? whole_pages(bytes) : MOST_RESERVED & ~(whole_pages(1) - 1);
}

struct baseline *baseline_create(const struct module *m) {
  struct baseline *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  baseline_rows_init();
  b->reserved = reservation(m);
  void *base = mmap(NULL, b->reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  struct x86 *x = &b->output.code;
  emit_stubs(b, x);
  b->base = base == MAP_FAILED ? NULL : base;
  uint8_t *at = b->base ? begin_code(b, x->n) : NULL;
  if (at) memcpy(at, x->bytes, x->n);
  if (at) end_code(b, x->n);
  if (at && publish_code(b)) return b;
  baseline_destroy(b);
  return NULL;
}

void baseline_destroy(struct baseline *b) {
  if (!b) return;
  if (b->base) munmap(b->base, b->reserved);
  baseline_output_clear(&b->output);
  free(b);
}

bool baseline_has_code(const struct baseline *b, uintptr_t pc) { return pc - (uintptr_t)b->base < b->reserved; }

const void *baseline_call_stub(const struct baseline *b) { return b->base + b->stubs[STUB_CALL]; }

/* --- functions ------------------------------------------------------------------------------------------------------------- */

/* The code's own addresses, and distances to shared code, for where it will be. */
static void place(struct baseline *b, uint8_t *at) {
  struct baseline_output *o = &b->output;
  for (uint32_t i = 0; i < o->n_cells; i++) {
    uint64_t v;
    memcpy(&v, o->code.bytes + o->cells[i], sizeof v);
    v += (uintptr_t)at;
    memcpy(o->code.bytes + o->cells[i], &v, sizeof v);
  }
  for (uint32_t i = 0; i < o->n_stubs; i++) {
    const uint8_t *next = at + o->stubs[i].offset + 4;
    int32_t distance = (int32_t)(b->base + b->stubs[o->stubs[i].insn] - next);
    memcpy(o->code.bytes + o->stubs[i].offset, &distance, sizeof distance);
  }
}

/* Machine code reads `fast` of functions that another thread has published, and leads to handlers, which read instructions that
 * lie in the code. ThreadSanitizer sees neither the one nor this copy, which is no memcpy therefore. */
static void copy_code(uint8_t *to, const uint8_t *from, size_t n) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

bool baseline_compile(struct baseline *b, struct precise_func *func, const struct precise_insn *insns, uint32_t n) {
  struct baseline_output *o = &b->output;
  uint8_t *at = baseline_emit(o, func, insns, n) ? begin_code(b, o->code.n) : NULL;
  if (at) {
    place(b, at);
    copy_code(at, o->code.bytes, o->code.n);
  }
  b->stats.functions += at != NULL;
  b->stats.refused += !at;
  if (!at) return false;
  b->stats.bytes += o->code.n;
  end_code(b, o->code.n);
  func->native = at;
  func->native_bytes = o->code.n;
  func->native_fast = o->fast;
  return true;
}

static size_t kept_bytes(const struct baseline_output *o) {
  return o->code.capacity + o->scratch_capacity +
         o->insns_capacity * (sizeof *o->starts + sizeof *o->entries + sizeof *o->nesting);
}

/* What a large function needed is ten times its body: too much to wait for the next one. */
static void drop_large_buffers(struct baseline *b) {
  enum { MOST_KEPT = 1 << 20 };
  if (kept_bytes(&b->output) <= MOST_KEPT) return;
  baseline_output_clear(&b->output);
  b->output = (struct baseline_output){0};
}

bool baseline_publish(struct baseline *b, struct precise_func *funcs, uint32_t n) {
  bool ok = publish_code(b);
  drop_large_buffers(b);
  for (uint32_t i = 0; i < n; i++) {
    struct precise_func *f = &funcs[i];
    if (!f->native || f->code) continue;
    if (!ok) {
      f->native = NULL;
      b->stats.functions--;
      b->stats.refused++;
      continue;
    }
    atomic_store_explicit(&f->fast, f->native + f->native_fast, memory_order_release);
    atomic_store_explicit(&f->code, (const struct precise_insn *)(const void *)f->native, memory_order_release);
  }
  return ok;
}

void baseline_add_seconds(struct baseline *b, double seconds) { b->stats.seconds += seconds; }

uint32_t baseline_index(const struct precise_func *func, const struct precise_insn *insns, uint32_t n, const void *address) {
  struct baseline_output out = {0};
  uint32_t offset = (uint32_t)((const uint8_t *)address - func->native), low = 0;
  (void)baseline_emit(&out, func, insns, n);
  if (offset >= out.hot_end && out.n_marks) {
    for (low = out.n_marks - 1; low && out.marks[low].offset > offset; low--) continue;
    low = out.marks[low].insn;
  } else {
    for (low = n - 1; low && out.starts[low] > offset; low--) continue;
  }
  baseline_output_clear(&out);
  return low;
}

struct precise_stats baseline_stats(const struct baseline *b) {
  struct precise_stats stats = b->stats;
  stats.kept = kept_bytes(&b->output);
  return stats;
}
