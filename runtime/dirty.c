/* A memory is as it was when the few pages are that a request writes to. Which ones is learned: all are read-only, the first
 * write to one faults, and it becomes writable for good, after its content went into the image. From then on it is copied back
 * after every request, written or not: 0.05 us, against 1 us and more for every way to ask the kernel. Requests that write to no
 * new page make no system call and no fault.
 *
 * Each change of rights splits a mapping, and a process may have only 65,530 of them; so the writable pages are few ranges, and
 * the pages between two that had to become one are copied too. A set that grows large is given up: everything is writable, and
 * who resets the memory must find another way (memory.c asks the kernel).
 *
 * The kernel does not fault when it writes to such a page for a system call, it fails with EFAULT: memory that host functions get
 * is joined first (gw_instance_memory). The image's pages are touched as they are needed: where a page was zero its image stays
 * the kernel's zero page. */
#include "runtime/dirty.h"

#include "runtime/guarded.h"

#include <string.h>
#include <sys/mman.h>

enum {
  PAGE = 4096,
  MAX_WATCHED = (16 << 20) / PAGE, /* pages; an image takes as much address space */
  MAX_DIRTY = (2 << 20) / PAGE,    /* pages worth copying */
  MAX_AHEAD = 16,                  /* pages that join with one next to a range: stacks and heaps grow by pages in a row */
};

bool dirty_can_watch(const struct dirty_set *d, uint64_t bytes) {
  return !d->is_given_up && bytes > 0 && bytes / PAGE <= MAX_WATCHED;
}

bool dirty_watch(struct dirty_set *d, uint8_t *base, uint64_t bytes) {
  if (!dirty_can_watch(d, bytes)) return false;
  void *image = guarded_map(bytes);
  if (!image) return false;
  if (mprotect(base, bytes, PROT_READ)) {
    guarded_unmap(image, bytes);
    return false;
  }
  *d = (struct dirty_set){.base = base, .image = image, .n_pages = (uint32_t)(bytes / PAGE)};
  return true;
}

void dirty_close(struct dirty_set *d) {
  if (d->n_pages) guarded_unmap(d->image, (size_t)d->n_pages * PAGE);
  d->n_pages = 0;
}

static bool has_page(const struct dirty_set *d, uint32_t page) {
  for (uint32_t i = 0; i < d->n_ranges; i++)
    if (page >= d->ranges[i].first && page < d->ranges[i].end) return true;
  return false;
}

static bool give_up(struct dirty_set *d) {
  if (mprotect(d->base, (size_t)d->n_pages * PAGE, PROT_READ | PROT_WRITE)) return false;
  dirty_close(d);
  d->is_given_up = true;
  return true;
}

static void merge_with_next(struct dirty_set *d, uint32_t i) {
  if (d->ranges[i + 1].end > d->ranges[i].end) d->ranges[i].end = d->ranges[i + 1].end;
  d->n_ranges--;
  memmove(&d->ranges[i + 1], &d->ranges[i + 2], (d->n_ranges - i - 1) * sizeof d->ranges[0]);
}

static void insert(struct dirty_set *d, struct dirty_range r) {
  uint32_t at = 0;
  while (at < d->n_ranges && d->ranges[at].first < r.first) at++;
  memmove(&d->ranges[at + 1], &d->ranges[at], (d->n_ranges - at) * sizeof r);
  d->ranges[at] = r;
  d->n_ranges++;
  for (uint32_t i = 0; i + 1 < d->n_ranges;) {
    if (d->ranges[i + 1].first <= d->ranges[i].end)
      merge_with_next(d, i);
    else
      i++;
  }
  if (d->n_ranges <= DIRTY_MAX_RANGES) return;
  uint32_t closest = 0;
  for (uint32_t i = 1; i + 1 < d->n_ranges; i++)
    if (d->ranges[i + 1].first - d->ranges[i].end < d->ranges[closest + 1].first - d->ranges[closest].end) closest = i;
  merge_with_next(d, closest);
}

static uint32_t count(const struct dirty_set *d) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < d->n_ranges; i++) n += d->ranges[i].end - d->ranges[i].first;
  return n;
}

bool dirty_is_zero(const uint8_t *page) {
  const uint64_t *words = (const uint64_t *)(const void *)page;
  for (uint32_t i = 0; i < PAGE / sizeof *words; i++)
    if (words[i]) return false;
  return true;
}

static void save_page(const struct dirty_set *d, uint32_t page) {
  const uint8_t *from = d->base + (size_t)page * PAGE;
  if (!dirty_is_zero(from)) memcpy(d->image + (size_t)page * PAGE, from, PAGE);
}

/* Pages that were not in `before` go into the image and become writable. */
static bool open_new(struct dirty_set *d, const struct dirty_set *before) {
  for (uint32_t i = 0; i < d->n_ranges; i++) {
    struct dirty_range r = d->ranges[i];
    bool is_new = false;
    for (uint32_t page = r.first; page < r.end; page++) {
      if (has_page(before, page)) continue;
      save_page(d, page);
      is_new = true;
    }
    if (is_new && mprotect(d->base + (size_t)r.first * PAGE, (size_t)(r.end - r.first) * PAGE, PROT_READ | PROT_WRITE))
      return false;
  }
  return true;
}

static bool join(struct dirty_set *d, struct dirty_range r) {
  struct dirty_set before = *d;
  insert(d, r);
  bool is_opened = count(d) <= MAX_DIRTY && open_new(d, &before);
  d->is_broken = !is_opened && !give_up(d);
  return !d->is_broken;
}

bool dirty_join(struct dirty_set *d, uint64_t at, uint64_t size) {
  uint64_t watched = (uint64_t)d->n_pages * PAGE;
  if (size == 0 || at >= watched) return true;
  uint64_t end = size > watched - at ? watched : at + size;
  struct dirty_range r = {.first = (uint32_t)(at / PAGE), .end = (uint32_t)((end + PAGE - 1) / PAGE)};
  for (uint32_t i = 0; i < d->n_ranges; i++)
    if (r.first >= d->ranges[i].first && r.end <= d->ranges[i].end) return true;
  return join(d, r);
}

/* Pages behind or before a range come several at a time, the more the larger it is. */
static struct dirty_range ahead(const struct dirty_set *d, uint32_t page) {
  for (uint32_t i = 0; i < d->n_ranges; i++) {
    struct dirty_range r = d->ranges[i];
    uint32_t more = r.end - r.first < MAX_AHEAD ? r.end - r.first : MAX_AHEAD;
    if (page == r.end) return (struct dirty_range){page, page + more < d->n_pages ? page + more : d->n_pages};
    if (page + 1 == r.first) return (struct dirty_range){r.first > more ? r.first - more : 0, r.first};
  }
  return (struct dirty_range){page, page + 1};
}

bool dirty_fault(struct dirty_set *d, uintptr_t address) {
  uintptr_t at = address - (uintptr_t)d->base;
  if (at >= (uintptr_t)d->n_pages * PAGE) return false;
  uint32_t page = (uint32_t)(at / PAGE);
  return !has_page(d, page) && join(d, ahead(d, page));
}

void dirty_restore(const struct dirty_set *d) {
  for (uint32_t i = 0; i < d->n_ranges; i++) {
    size_t at = (size_t)d->ranges[i].first * PAGE;
    memcpy(d->base + at, d->image + at, (size_t)d->ranges[i].end * PAGE - at);
  }
}

void dirty_keep(struct dirty_set *d) {
  for (uint32_t i = 0; i < d->n_ranges; i++) {
    size_t at = (size_t)d->ranges[i].first * PAGE;
    memcpy(d->image + at, d->base + at, (size_t)d->ranges[i].end * PAGE - at);
  }
}
