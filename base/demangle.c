/* libiberty knows Rust's two manglings and C++'s. Its licence lets compiled programs use these files without conditions. The
 * forms with callbacks allocate nothing; their stack and time are bounded by the name's length and their own limit of recursion.
 */
#include "base/demangle.h"

#include <libiberty/demangle.h>
#include <stdint.h>
#include <string.h>

enum { LONGEST = 1000, HASH = 19 /* "::h" and 16 digits */ };

struct text {
  char *out;
  size_t size, n;
  bool is_cut;
};

static void append(const char *piece, size_t n, void *env) {
  struct text *t = env;
  size_t room = t->size - 1 - t->n;
  if (n > room) {
    n = room;
    t->is_cut = true;
  }
  if (n) memcpy(t->out + t->n, piece, n);
  t->n += n;
}

/* What linkers demangle still has the hash of Rust's older mangling at its end. */
static bool ends_in_hash(const char *name, size_t n) {
  if (n <= HASH || memcmp(name + n - HASH, "::h", 3) != 0) return false;
  for (size_t i = n - HASH + 3; i < n; i++)
    if (!memchr("0123456789abcdef", name[i], 16)) return false;
  return true;
}

static bool is_printable(const char *name, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (name[i] <= ' ' || name[i] > '~') return false;
  return true;
}

/* A character is cut as a whole. */
static void end(struct text *t) {
  if (t->is_cut) {
    while (t->n && ((uint8_t)t->out[t->n - 1] & 0xc0) == 0x80) t->n--;
    if (t->n && (uint8_t)t->out[t->n - 1] >= 0xc0) t->n--;
  }
  t->out[t->n] = 0;
}

static bool end_as(struct text *t, bool ok) {
  if (!ok) t->n = 0;
  end(t);
  return ok;
}

bool demangle(const char *name, size_t n, char *out, size_t size) {
  char copy[LONGEST + 1];
  struct text t = {out, size, 0, false};
  out[0] = 0;
  if (n > LONGEST) return false;
  if (ends_in_hash(name, n)) {
    append(name, n - HASH, &t);
    return end_as(&t, true);
  }
  if (n < 3 || name[0] != '_' || (name[1] != 'R' && name[1] != 'Z') || !is_printable(name, n)) return false;
  memcpy(copy, name, n);
  copy[n] = 0;
  bool ok = rust_demangle_callback(copy, DMGL_NO_OPTS, append, &t) && t.n;
  if (ok || name[1] == 'R') return end_as(&t, ok);
  t = (struct text){out, size, 0, false};
  return end_as(&t, cplus_demangle_v3_callback(copy, DMGL_NO_OPTS, append, &t) && t.n);
}
