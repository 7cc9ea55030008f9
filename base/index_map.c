#include "base/index_map.h"

#include "base/heap.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

/* The key's entry, or the one where it belongs. Heap addresses are multiples of 16. */
static struct index_entry *entry_of(const struct index_map *map, const void *key) {
  size_t i = ((uintptr_t)key >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (map->capacity - 1);
  while (map->entries[i].round == map->round && map->entries[i].key != key) i = (i + 1) & (map->capacity - 1);
  return &map->entries[i];
}

uint32_t index_map_find(const struct index_map *map, const void *key) {
  if (!map->n) return INDEX_NONE;
  const struct index_entry *e = entry_of(map, key);
  return e->round == map->round ? e->index : INDEX_NONE;
}

static void grow(struct index_map *map) {
  struct index_map old = *map;
  map->capacity = old.capacity ? 2 * old.capacity : FIRST_CAPACITY;
  map->entries = heap_new(map->capacity, sizeof *map->entries);
  map->round = 1;
  for (size_t i = 0; i < old.capacity; i++) {
    const struct index_entry *e = &old.entries[i];
    if (e->round == old.round) *entry_of(map, e->key) = (struct index_entry){e->key, e->index, map->round};
  }
  free(old.entries);
}

uint32_t index_map_add(struct index_map *map, const void *key, uint32_t index) {
  if (map->n >= map->capacity / 2) grow(map);
  struct index_entry *e = entry_of(map, key);
  if (e->round == map->round) return e->index;
  *e = (struct index_entry){key, index, map->round};
  map->n++;
  return index;
}

void index_map_empty(struct index_map *map) {
  map->n = 0;
  if (!map->capacity || ++map->round) return;
  for (size_t i = 0; i < map->capacity; i++) map->entries[i].round = 0; /* the count began again */
  map->round = 1;
}

void index_map_free(struct index_map *map) {
  free(map->entries);
  *map = (struct index_map){0};
}
