/* Turns a subset of Markdown on standard input into HTML: headings, paragraphs, lists, quotes, code blocks, rules; emphasis,
 * code, links. Everything else is escaped, raw HTML too. A CGI program, and a filter on the command line. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
  const char *at;
  size_t size;
};

enum block { BLOCK_NONE, BLOCK_PARAGRAPH, BLOCK_BULLETS, BLOCK_NUMBERS, BLOCK_QUOTE, BLOCK_CODE };

static const struct {
  const char *open, *close;
} tags[] = {
    [BLOCK_NONE] = {"", ""},
    [BLOCK_PARAGRAPH] = {"<p>", "</p>\n"},
    [BLOCK_BULLETS] = {"<ul>\n", "</ul>\n"},
    [BLOCK_NUMBERS] = {"<ol>\n", "</ol>\n"},
    [BLOCK_QUOTE] = {"<blockquote>", "</blockquote>\n"},
    [BLOCK_CODE] = {"<pre><code>", "</code></pre>\n"},
};

static void write_escaped(struct text t) {
  for (size_t i = 0; i < t.size; i++) {
    switch (t.at[i]) {
    case '&': fputs("&amp;", stdout); break;
    case '<': fputs("&lt;", stdout); break;
    case '>': fputs("&gt;", stdout); break;
    case '"': fputs("&quot;", stdout); break;
    default: putchar(t.at[i]);
    }
  }
}

/* Where `mark` begins in `t` at or behind `from`, or t.size. */
static size_t find(struct text t, size_t from, const char *mark) {
  size_t size = strlen(mark);
  for (size_t i = from; i + size <= t.size; i++)
    if (memcmp(t.at + i, mark, size) == 0) return i;
  return t.size;
}

static bool begins_with(struct text t, const char *mark) {
  return t.size >= strlen(mark) && memcmp(t.at, mark, strlen(mark)) == 0;
}

static struct text part(struct text t, size_t from, size_t to) { return (struct text){t.at + from, to - from}; }

/* Links lead to the web, mail or the same site: `javascript:` and the like stay text. */
static bool is_safe_target(struct text target) {
  static const char *const schemes[] = {"http://", "https://", "mailto:", "/", "#", "./"};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
    if (begins_with(target, schemes[i])) return true;
  return find(target, 0, ":") == target.size;
}

static void write_inline(struct text t);

/* [label](target) at `from`: returns what follows it, or `from` when it is none. */
static size_t write_link(struct text t, size_t from) {
  size_t middle = find(t, from, "](");
  size_t end = middle == t.size ? t.size : find(t, middle, ")");
  if (end == t.size) return from;
  struct text target = part(t, middle + 2, end);
  if (!is_safe_target(target)) return from;
  fputs("<a href=\"", stdout);
  write_escaped(target);
  fputs("\">", stdout);
  write_inline(part(t, from + 1, middle));
  fputs("</a>", stdout);
  return end + 1;
}

/* What stands between two equal marks, longest mark first. */
static const struct {
  const char *mark, *tag;
  bool is_verbatim;
} spans[] = {{"`", "code", true}, {"**", "strong", false}, {"__", "strong", false}, {"*", "em", false}, {"_", "em", false}};

/* A span at `from`: returns what follows it, or `from` when there is none. */
static size_t write_span(struct text t, size_t from) {
  for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
    size_t mark = strlen(spans[i].mark), begin = from + mark;
    if (!begins_with(part(t, from, t.size), spans[i].mark)) continue;
    size_t end = find(t, begin, spans[i].mark);
    if (end == t.size || end == begin) continue;
    printf("<%s>", spans[i].tag);
    if (spans[i].is_verbatim)
      write_escaped(part(t, begin, end));
    else
      write_inline(part(t, begin, end));
    printf("</%s>", spans[i].tag);
    return end + mark;
  }
  return from;
}

/* An underscore inside a word is no emphasis: snake_case_names stay as they are. */
static bool may_open(struct text t, size_t at) { return t.at[at] != '_' || at == 0 || !isalnum((unsigned char)t.at[at - 1]); }

static void write_inline(struct text t) {
  for (size_t i = 0; i < t.size;) {
    size_t next = i;
    if (t.at[i] == '\\' && i + 1 < t.size && ispunct((unsigned char)t.at[i + 1]))
      i++, next = i;
    else if (t.at[i] == '[')
      next = write_link(t, i);
    else if (strchr("`*_", t.at[i]) && may_open(t, i))
      next = write_span(t, i);
    if (next == i) write_escaped(part(t, i, i + 1)), next++;
    i = next;
  }
}

static struct text trim(struct text t) {
  while (t.size && isspace((unsigned char)*t.at)) t.at++, t.size--;
  while (t.size && isspace((unsigned char)t.at[t.size - 1])) t.size--;
  return t;
}

static void change_block(enum block *current, enum block next) {
  if (*current == next) return;
  fputs(tags[*current].close, stdout);
  fputs(tags[next].open, stdout);
  *current = next;
}

static void write_heading(struct text line, size_t level) {
  printf("<h%zu>", level);
  write_inline(trim(part(line, level, line.size)));
  printf("</h%zu>\n", level);
}

static void write_item(struct text line, size_t mark) {
  fputs("<li>", stdout);
  write_inline(trim(part(line, mark, line.size)));
  fputs("</li>\n", stdout);
}

/* Bytes of "12. " at the start of a line, or 0. */
static size_t number_mark(struct text line) {
  size_t i = 0;
  while (i < line.size && isdigit((unsigned char)line.at[i])) i++;
  return i > 0 && i + 1 < line.size && line.at[i] == '.' && line.at[i + 1] == ' ' ? i + 2 : 0;
}

static size_t heading_level(struct text line) {
  size_t level = 0;
  while (level < line.size && line.at[level] == '#') level++;
  return level <= 6 && level < line.size && line.at[level] == ' ' ? level : 0;
}

static bool is_rule(struct text line) {
  size_t i = 0;
  while (i < line.size && line.at[i] == '-') i++;
  return i >= 3 && i == line.size;
}

/* A line of running text: opens its block, or goes on with it after a line break. */
static void write_running(enum block *current, enum block block, struct text line) {
  if (*current == block) putchar('\n');
  change_block(current, block);
  write_inline(trim(line));
}

static void write_line(enum block *current, struct text raw) {
  struct text line = trim(raw);
  size_t level = heading_level(line), mark = number_mark(line);
  if (begins_with(line, "```")) {
    change_block(current, *current == BLOCK_CODE ? BLOCK_NONE : BLOCK_CODE);
  } else if (*current == BLOCK_CODE) {
    write_escaped(raw);
    putchar('\n');
  } else if (line.size == 0) {
    change_block(current, BLOCK_NONE);
  } else if (level) {
    change_block(current, BLOCK_NONE);
    write_heading(line, level);
  } else if (is_rule(line)) {
    change_block(current, BLOCK_NONE);
    puts("<hr>");
  } else if (begins_with(line, "- ") || begins_with(line, "* ")) {
    change_block(current, BLOCK_BULLETS);
    write_item(line, 2);
  } else if (mark) {
    change_block(current, BLOCK_NUMBERS);
    write_item(line, mark);
  } else if (begins_with(line, "> ")) {
    write_running(current, BLOCK_QUOTE, part(line, 2, line.size));
  } else {
    write_running(current, BLOCK_PARAGRAPH, line);
  }
}

/* All of standard input; NULL when memory ends. */
static char *read_all(size_t *size) {
  size_t capacity = 65536;
  char *bytes = malloc(capacity);
  *size = 0;
  while (bytes) {
    size_t n = fread(bytes + *size, 1, capacity - *size, stdin);
    *size += n;
    if (n == 0) break;
    if (*size < capacity) continue;
    char *larger = realloc(bytes, capacity *= 2);
    if (!larger) free(bytes);
    bytes = larger;
  }
  return bytes;
}

int main(void) {
  size_t size;
  char *bytes = read_all(&size);
  if (!bytes) {
    fputs("markdown: out of memory\n", stderr);
    return 1;
  }
  if (getenv("REQUEST_METHOD")) fputs("Content-Type: text/html; charset=utf-8\n\n", stdout);
  enum block current = BLOCK_NONE;
  struct text all = {bytes, size};
  for (size_t at = 0; at < size;) {
    size_t end = find(all, at, "\n");
    write_line(&current, part(all, at, end));
    at = end + 1;
  }
  change_block(&current, BLOCK_NONE);
  free(bytes);
  return 0;
}
