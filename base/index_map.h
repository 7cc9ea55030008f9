/* From addresses to numbers: an open-addressing hash table. For what one pass over a function numbers, not for addresses that
 * strangers choose. All zero is an empty map. */
#ifndef BASE_INDEX_MAP_H
#define BASE_INDEX_MAP_H

#include <stddef.h>
#include <stdint.h>

#define INDEX_NONE UINT32_MAX

struct index_entry {
  const void *key;
  uint32_t index, round; /* it is there when the round is the map's */
};

struct index_map {
  struct index_entry *entries;
  size_t capacity, n;
  uint32_t round;
};

/* INDEX_NONE: not there. */
uint32_t index_map_find(const struct index_map *map, const void *key);
/* The number that the key has; `index` when it was not there, and is now. */
uint32_t index_map_add(struct index_map *map, const void *key, uint32_t index);
/* In constant time; the room stays. */
void index_map_empty(struct index_map *map);
void index_map_free(struct index_map *map);

#endif
