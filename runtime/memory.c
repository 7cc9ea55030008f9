/* Linear memories.
 *
 * One with 32-bit indices and pages of 64 KiB reserves all addresses that an index plus an offset can form, so compiled code
 * checks nothing: what lies behind the current size has no access rights and the fault becomes a trap (trap.c). Other
 * memories are checked by compiled code and reserve what they may grow to. The base never moves.
 *
 * Resets must be cheap, there is one after every request. From the first on a memory is watched (dirty.c), so that it takes no
 * system call. Where too much is written for that, the kernel is asked. Measured here: giving pages back (madvise) costs 2 us for
 * every page that is touched again, wiping a page that stays 0.05 us, and asking which pages are there about 1 us. So: read
 * the pagemap, wipe the resident pages, keep them; give everything back only when much was touched. mincore would be cheaper
 * still but does not count pages that are swapped out, and those hold the last request's data.
 *
 * What is given back is touched again, and 512 faults of 4 KiB cost sixty times as much as one of 2 MiB. So parts that are not
 * worth keeping are backed by huge pages: memories too large to be watched, or given up, and what was grown. Two blocks of 2 MiB
 * have small pages, which are wiped and stay: the memory's first, and the one in which its initial size ends. So a function that
 * needs little takes no more than it touches. A block that is grown into by steps could never be one huge page, as what lies
 * behind the size has no access: it becomes one when the memory grows into it, and the kernel splits its mapping. Where slices
 * are bounded by time, that and the first touches wait for each other (blocks.c). */
#include "runtime/object.h"

#include "base/error.h"
#include "runtime/engine.h"
#include "runtime/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
  HOST_PAGE = 4096,
  SCAN_BATCH = (16 << 20) / HOST_PAGE,   /* pages asked for at once; memories of more are large */
  RESIDENT_LIMIT = 4 * BLOCK / HOST_PAGE /* pages worth wiping, of others */
};

#define PAGEMAP_PRESENT_OR_SWAPPED (UINT64_C(3) << 62)

static int pagemap_fd = -1;

/* The file shows the process that opened it: after a fork the child needs its own. */
static void pagemap_reopen(void) {
  if (pagemap_fd >= 0) close(pagemap_fd);
  pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static void pagemap_open(void) {
  pagemap_reopen();
  pthread_atfork(NULL, NULL, pagemap_reopen);
}

/* Bytes of a 32-bit index's range, and what a 64-bit memory may grow to where the store says nothing: so much address space
 * that two thousand of them fit into a process. */
#define MAX_BYTES_32 (UINT64_C(1) << 32)
#define DEFAULT_MAX_BYTES_64 (UINT64_C(64) << 30)

/* Access rights go by host pages; pages of a memory may be smaller. */
static uint64_t round_up(uint64_t bytes) { return (bytes + HOST_PAGE - 1) & ~(uint64_t)(HOST_PAGE - 1); }

static bool set_access(struct gw_memory *memory, uint64_t from, uint64_t to, int access) {
  from = round_up(from);
  to = round_up(to);
  return from == to || mprotect(memory->ctx.base + from, to - from, access) == 0;
}

/* Blocks are aligned by address, the base need not be: the first one that begins behind `offset` bytes. */
static uint64_t next_block(const struct gw_memory *memory, uint64_t offset) {
  uintptr_t at = (uintptr_t)memory->ctx.base;
  return ((at + offset) / BLOCK + 1) * BLOCK - at;
}

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* For blocks that lie in [from, to) as a whole. Where the system has no huge pages, nothing changes but the time. */
static void back_by_huge_pages(const struct gw_memory *memory, uint64_t from, uint64_t to) {
  uint64_t end = round_up(to);
  if (from < end) madvise(memory->ctx.base + from, end - from, MADV_HUGEPAGE);
}

/* The rest of the block in which the memory now ends; true where that is to be one huge page and is not yet. */
static bool ends_in_new_block(const struct gw_memory *memory, uint64_t before, uint64_t bytes, uint64_t *block) {
  uint64_t first = next_block(memory, memory->initial), end = next_block(memory, bytes);
  *block = end - BLOCK;
  return end > BLOCK && *block >= first && *block >= before && *block < bytes && end <= memory->reserved;
}

/* Behind `bytes` nothing may be accessed. False: the system refuses, and the block is as it was. */
static bool touch_block(const struct gw_memory *memory, uint64_t block, uint64_t bytes) {
  uint8_t *start = memory->ctx.base + block;
  uint64_t size = round_up(bytes) - block;
  if (mprotect(start, BLOCK, PROT_READ | PROT_WRITE)) return false;
  *(volatile uint8_t *)start = 0;
  if (size == BLOCK || mprotect(start + size, BLOCK - size, PROT_NONE) == 0) return true;
  mprotect(start, BLOCK, PROT_NONE);
  return false;
}

static bool grow_in_blocks(const struct gw_memory *memory, uint64_t before, uint64_t bytes) {
  uint64_t block, first = next_block(memory, memory->initial);
  if (memory->blocks.n) {
    uint64_t end = smaller(next_block(memory, bytes - 1), memory->reserved);
    back_by_huge_pages(memory, before > first ? before : first, end);
    return true;
  }
  bool is_new = ends_in_new_block(memory, before, bytes, &block);
  back_by_huge_pages(memory, before > first ? before : first, is_new ? block + BLOCK : bytes);
  return !is_new || touch_block(memory, block, bytes);
}

/* The most pages that a memory of this type may have in this store. */
static uint64_t most_pages(const struct gw_store *store, const struct limits *l) {
  uint64_t bytes = l->is_64 ? DEFAULT_MAX_BYTES_64 : MAX_BYTES_32, allowed = store->options.max_memory_bytes;
  if (allowed && (l->is_64 || allowed < bytes)) bytes = allowed;
  if (!l->is_64 && bytes == MAX_BYTES_32 && l->page_size_log2 == 0) bytes--; /* 2^32 pages: no i32 could tell */
  uint64_t pages = bytes >> l->page_size_log2;
  if (!l->is_64 && l->page_size_log2 == 16 && pages == MEMORY_MAX_PAGES_32 && l->min < pages) pages--;
  return l->max < pages ? l->max : pages;
}

/* Bytes of address space behind the base. */
static uint64_t to_reserve(const struct limits *l, uint64_t max_pages) {
  if (!l->is_64 && l->page_size_log2 == 16) return MEMORY_RESERVED;
  uint64_t bytes = max_pages << l->page_size_log2;
  return round_up(bytes) + HOST_PAGE; /* a guard: what lies behind is somebody else's */
}

static void set_size(struct gw_memory *memory, uint64_t bytes) {
  store_hold(memory->store, bytes - memory->ctx.bytes);
  memory->ctx.bytes = bytes;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* The memory grows from `before` to `bytes`, and closed blocks stay so: what is accessible now lies in front of them, in the
 * block in which it ended, and behind them, where no block has room. */
static bool give_access(struct gw_memory *memory, uint64_t before, uint64_t bytes) {
  const struct block_set *b = &memory->blocks;
  if (!b->n) return set_access(memory, before, bytes, PROT_READ | PROT_WRITE);
  uint64_t first = (uint64_t)(b->first - memory->ctx.base), last = first + b->n * BLOCK, head = first;
  if (before >= first) head = blocks_is_closed(b, memory->ctx.base + before) ? before : next_block(memory, before);
  return set_access(memory, before, smaller(head, bytes), PROT_READ | PROT_WRITE) &&
         (bytes <= last || set_access(memory, larger(before, last), bytes, PROT_READ | PROT_WRITE));
}

static bool commit(struct gw_memory *memory, uint64_t bytes) {
  if (!give_access(memory, memory->ctx.bytes, bytes)) {
    memory->store->was_refused = true;
    return false;
  }
  set_size(memory, bytes);
  return true;
}

/* Blocks are closed from the first that begins behind `offset`. */
static void begin_blocks(struct gw_memory *memory, uint64_t offset) {
  uint64_t first = next_block(memory, offset);
  uint64_t most = smaller(memory->reserved, (memory->max_pages << memory->limits.page_size_log2) + BLOCK);
  if (memory->blocks.is_open) blocks_begin(&memory->blocks, memory->ctx.base + first, first < most ? (most - first) / BLOCK : 0);
}

static void want_blocks(struct gw_memory *memory) {
  uint64_t *bits = arena_alloc(&memory->store->arena, block_words(memory->reserved / BLOCK) * sizeof *bits);
  memory->blocks.is_open = bits;
  begin_blocks(memory, 0);
}

/* All up to the initial size is readable then, so blocks are closed behind it only. */
static bool watch(struct gw_memory *memory) {
  if (!dirty_watch(&memory->dirty, memory->ctx.base, round_up(memory->initial))) return false;
  begin_blocks(memory, memory->initial);
  return true;
}

struct gw_memory *memory_create(struct gw_store *store, const struct memory_type *type, struct gw_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, pagemap_open);
  uint64_t min = type->limits.min, max = most_pages(store, &type->limits);
  if (min > max) {
    error_set(err, GW_ERROR_LIMIT, "the memory starts with %llu pages, the limit is %llu", (unsigned long long)min,
              (unsigned long long)max);
    return NULL;
  }
  if (!store_check_held(store, min << type->limits.page_size_log2, err)) return NULL;
  uint64_t reserved = to_reserve(&type->limits, max);
  void *base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY,
              "no %llu MiB of addresses for a memory: %s (ulimit -v and vm.max_map_count limit them)",
              (unsigned long long)(reserved >> 20), strerror(errno));
    return NULL;
  }
  struct gw_memory *memory = arena_alloc(&store->arena, sizeof *memory);
  memory->ctx.base = base;
  memory->store = store;
  memory->limits = type->limits;
  memory->max_pages = max;
  memory->reserved = reserved;
  if (store->options.slice_ns) want_blocks(memory);
  if (!commit(memory, min << memory->limits.page_size_log2)) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "cannot commit %llu memory pages: %s", (unsigned long long)min, strerror(errno));
    memory_destroy(memory);
    return NULL;
  }
  memory->initial = memory->ctx.bytes;
  if (!dirty_can_watch(&memory->dirty, memory->initial)) back_by_huge_pages(memory, next_block(memory, 0), memory->initial);
  memory->next = store->memories;
  store->memories = memory;
  return memory;
}

void memory_destroy(struct gw_memory *memory) {
  dirty_close(&memory->dirty);
  set_size(memory, 0);
  munmap(memory->ctx.base, memory->reserved);
}

uint64_t memory_pages(const struct gw_memory *memory) { return memory->ctx.bytes >> memory->limits.page_size_log2; }

bool memory_can_grow(const struct gw_memory *memory, uint64_t pages) {
  return pages <= memory->max_pages - memory_pages(memory) &&
         store_may_hold(memory->store, pages << memory->limits.page_size_log2);
}

bool memory_grow(struct gw_memory *memory, uint64_t pages) {
  uint64_t before = memory->ctx.bytes, bytes = before + (pages << memory->limits.page_size_log2);
  if (commit(memory, bytes) && grow_in_blocks(memory, before, bytes)) return true;
  if (memory->ctx.bytes == bytes) set_access(memory, before, bytes, PROT_NONE);
  set_size(memory, before);
  memory->store->was_refused = true;
  return false;
}

/* One that was only read is the kernel's zero page, and a write to it would be a fault. */
static void wipe_page(uint8_t *page) {
  if (dirty_is_zero(page)) return;
  memset(page, 0, HOST_PAGE);
}

/* Wipes the resident pages of [from, bytes), whole host pages. False: more than is worth it, or the kernel does not tell. Large
 * memories are wiped in any case: a server's threads do that beside the loop, which would have to wait for the faults. */
static bool wipe_resident(struct gw_memory *memory, uint64_t from, uint64_t bytes) {
  uint64_t entries[SCAN_BATCH];
  bool is_large = bytes - from > (uint64_t)SCAN_BATCH * HOST_PAGE;
  if (pagemap_fd < 0) return false;
  for (uint64_t at = from; at < bytes; at += (uint64_t)SCAN_BATCH * HOST_PAGE) {
    uint64_t n = smaller((bytes - at) / HOST_PAGE, SCAN_BATCH), n_resident = 0;
    off_t where = (off_t)(((uintptr_t)memory->ctx.base + at) / HOST_PAGE * sizeof *entries);
    if (pread(pagemap_fd, entries, n * sizeof *entries, where) != (ssize_t)(n * sizeof *entries)) return false;
    for (uint64_t i = 0; i < n; i++) n_resident += (entries[i] & PAGEMAP_PRESENT_OR_SWAPPED) != 0;
    if (n_resident > RESIDENT_LIMIT && !is_large) return false;
    for (uint64_t i = 0; i < n; i++)
      if (entries[i] & PAGEMAP_PRESENT_OR_SWAPPED) wipe_page(memory->ctx.base + at + i * HOST_PAGE);
  }
  return true;
}

/* Wipes what is resident up to `middle` and gives the rest back. */
static bool empty(struct gw_memory *memory, uint64_t from, uint64_t middle, uint64_t to) {
  uint64_t rest = from;
  if (from < middle && wipe_resident(memory, from, middle)) rest = middle;
  return rest >= to || madvise(memory->ctx.base + rest, to - rest, MADV_DONTNEED) == 0;
}

/* What lies behind the size must fault, so growing and shrinking cost a change of rights each, whatever is learned. The pages
 * of the block in which the initial size ends stay: 16 faults take longer than all three system calls. */
static bool shrink(struct gw_memory *memory, uint64_t kept, uint64_t grown) {
  uint64_t middle = next_block(memory, memory->initial), end = grown;
  if (grown > middle) end = smaller(next_block(memory, grown - 1), memory->reserved);
  blocks_close(&memory->blocks, memory->ctx.base + middle);
  return empty(memory, kept, smaller(middle, grown), end) && set_access(memory, kept, grown, PROT_NONE);
}

/* The pages of a large memory are given back: nothing is resident in closed blocks. */
static bool give_back(struct gw_memory *memory, uint64_t kept) {
  uint64_t first = smaller(next_block(memory, 0), kept);
  back_by_huge_pages(memory, first, kept);
  if (!empty(memory, 0, first, smaller(next_block(memory, kept - 1), memory->reserved))) return false;
  if (memory->dirty.is_given_up) begin_blocks(memory, 0);
  if (!memory->blocks.n || memory->blocks.first >= memory->ctx.base + kept) return true;
  blocks_close(&memory->blocks, memory->ctx.base + first);
  return set_access(memory, first, kept, PROT_NONE);
}

bool memory_reset(struct gw_memory *memory) {
  if (memory->dirty.is_broken) return false;
  uint64_t first = memory->initial, kept = round_up(first);
  uint64_t grown = round_up(memory->ctx.bytes);
  if (grown > kept && !shrink(memory, kept, grown)) return false;
  set_size(memory, first);
  if (memory->dirty.n_pages) {
    dirty_restore(&memory->dirty);
    return true;
  }
  return kept == 0 || wipe_resident(memory, 0, kept) || give_back(memory, kept);
}

void memory_watch(struct gw_memory *memory) {
  if (!memory->dirty.n_pages) watch(memory);
}

bool memory_can_keep(const struct gw_memory *memory) {
  if (memory->ctx.bytes != memory->initial) return false;
  return memory->initial == 0 || memory->dirty.n_pages || dirty_can_watch(&memory->dirty, round_up(memory->initial));
}

bool memory_keep(struct gw_memory *memory) {
  if (memory->initial == 0) return true;
  if (!memory->dirty.n_pages) return watch(memory);
  dirty_keep(&memory->dirty);
  return true;
}

bool memory_can_keep_grown(const struct gw_memory *memory) {
  return memory->ctx.bytes == 0 || dirty_can_watch(&(struct dirty_set){0}, round_up(memory->ctx.bytes));
}

bool memory_keep_grown(struct gw_memory *memory) {
  memory->initial = memory->ctx.bytes;
  if (memory->initial == 0) return true;
  if (!set_access(memory, 0, memory->initial, PROT_READ | PROT_WRITE)) return false; /* so it stays when the next step fails */
  begin_blocks(memory, memory->initial);
  dirty_close(&memory->dirty);
  memory->dirty = (struct dirty_set){0};
  return watch(memory);
}

static uint8_t *end_of(const struct gw_memory *memory) { return memory->ctx.base + round_up(memory->ctx.bytes); }

bool memory_open(struct gw_memory *memory, uint64_t offset, uint64_t size) {
  const uint8_t *from = memory->ctx.base + offset;
  return blocks_join(&memory->blocks, from, from + size, end_of(memory));
}

bool memory_touch(struct gw_memory *memory, const uint8_t *address) {
  return blocks_open(&memory->blocks, address, end_of(memory));
}

void *gw_memory_data(struct gw_memory *memory, uint64_t offset, uint64_t size) {
  if (offset > memory->ctx.bytes || size > memory->ctx.bytes - offset) return NULL;
  bool is_open = !memory->blocks.n || memory_open(memory, offset, size);
  if (!is_open || (memory->dirty.n_pages && !dirty_join(&memory->dirty, offset, size))) {
    memory->store->was_refused = true;
    return NULL;
  }
  return memory->ctx.base + offset;
}

uint64_t gw_memory_size(const struct gw_memory *memory) { return memory->ctx.bytes; }

uint64_t gw_memory_pages(const struct gw_memory *memory) { return memory_pages(memory); }

bool gw_memory_grow(struct gw_memory *memory, uint64_t pages) {
  return memory_can_grow(memory, pages) && memory_grow(memory, pages);
}

struct gw_memory *gw_memory_create(struct gw_store *store, uint64_t min_pages, uint64_t max_pages, struct gw_error *err) {
  struct memory_type type = {
      .limits = {.min = min_pages, .max = max_pages, .has_max = max_pages != UINT64_MAX, .page_size_log2 = 16}};
  return memory_create(store, &type, err);
}
