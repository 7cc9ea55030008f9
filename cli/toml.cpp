// TOML by toml++, behind a header that C can read. Its C++ library is linked into the program, which does not wait for one more
// shared library at every start.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include "cli/toml.h"

#include <toml++/toml.h>

#include <cstdio>
#include <string>
#include <vector>

static toml_place place_of(const toml::source_region &source) {
  return {static_cast<unsigned>(source.begin.line), static_cast<unsigned>(source.begin.column)};
}

static const char *what(const toml::node &node) {
  switch (node.type()) {
  case toml::node_type::table: return "a table";
  case toml::node_type::array: return "a list";
  case toml::node_type::floating_point: return "a number with a fraction";
  case toml::node_type::string: return "a string with a zero byte";
  default: return "a date or a time";
  }
}

// `text` keeps what the value's text points to.
static toml_value value_of(const toml::node &node, std::string &text) {
  toml_kind kind = TOML_OTHER;
  text = what(node);
  if (auto string = node.as_string(); string && string->get().find('\0') == std::string::npos) {
    kind = TOML_TEXT;
    text = string->get();
  } else if (auto integer = node.as_integer()) {
    kind = TOML_INTEGER;
    text = std::to_string(integer->get());
  } else if (auto boolean = node.as_boolean()) {
    kind = TOML_BOOLEAN;
    text = boolean->get() ? "true" : "false";
  }
  return {kind, text.c_str(), place_of(node.source())};
}

static void call(const toml::key &key, const toml::node &node, void (*each)(void *arg, const toml_entry *entry), void *arg) {
  const toml::array *list = node.as_array();
  size_t n = list ? list->size() : 1;
  std::vector<std::string> texts(n);
  std::vector<toml_value> values(n);
  for (size_t i = 0; i < n; i++) values[i] = value_of(list ? (*list)[i] : node, texts[i]);
  std::string name(key.str());
  toml_entry entry = {name.c_str(), place_of(key.source()), list != nullptr, values.data(), n};
  each(arg, &entry);
}

bool toml_read(const char *text, size_t size, void (*each)(void *arg, const toml_entry *entry), void *arg,
               toml_problem *problem) {
  toml::parse_result result = toml::parse(std::string_view(text, size));
  if (!result) {
    problem->place = place_of(result.error().source());
    std::string message(result.error().description());
    snprintf(problem->message, sizeof problem->message, "%s", message.c_str());
    return false;
  }
  for (auto &&[key, node] : result.table()) call(key, node, each, arg);
  return true;
}
