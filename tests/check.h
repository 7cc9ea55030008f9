/* For programs that are hosts of the library and use nothing else of Gasworks, in C or C++: what must hold. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                            \
  do {                                                                      \
    if (!(x)) {                                                             \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #x); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

#endif
