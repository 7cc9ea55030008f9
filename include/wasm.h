/* The standard C interface of WebAssembly engines, as Gasworks has it: programs written for it build and run unchanged.
 *
 * Who owns what: functions whose result or `out` is marked `own` hand it to the caller, who deletes it; parameters marked `own`
 * are taken over. All else is borrowed, and lives as long as what it was taken from. Deleting NULL does nothing. Threads: a
 * store, and what was made in it, belongs to one thread at a time; engines and shared modules to all. A store goes when it is
 * deleted, and every reference to something in it, too; until then it keeps what was made in it. Gas and all that goes beyond:
 * gasworks_wasm.h. */
#ifndef WASM_H
#define WASM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef own
#define own
#endif
#ifndef WASM_API_EXTERN
#define WASM_API_EXTERN
#endif

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef char byte_t;
typedef float float32_t;
typedef double float64_t;
typedef byte_t wasm_byte_t;

/* --- families of declarations ------------------------------------------------------------------------------------- */

/* A type of objects that are created and deleted. */
#define WASM_OBJECT_(name)                        \
  typedef struct wasm_##name##_t wasm_##name##_t; \
  WASM_API_EXTERN void wasm_##name##_delete(own wasm_##name##_t *);

/* A vector of ELEMENTs that it owns. `new_uninitialized` leaves numbers as they are, and pointers NULL. */
#define WASM_VECTOR_(name, element)                                                                       \
  typedef struct wasm_##name##_vec_t {                                                                    \
    size_t size;                                                                                          \
    element *data;                                                                                        \
  } wasm_##name##_vec_t;                                                                                  \
  WASM_API_EXTERN void wasm_##name##_vec_new_empty(own wasm_##name##_vec_t *out);                         \
  WASM_API_EXTERN void wasm_##name##_vec_new_uninitialized(own wasm_##name##_vec_t *out, size_t);         \
  WASM_API_EXTERN void wasm_##name##_vec_new(own wasm_##name##_vec_t *out, size_t, own element const[]);  \
  WASM_API_EXTERN void wasm_##name##_vec_copy(own wasm_##name##_vec_t *out, const wasm_##name##_vec_t *); \
  WASM_API_EXTERN void wasm_##name##_vec_delete(own wasm_##name##_vec_t *);

/* Descriptions: objects with vectors and copies. */
#define WASM_DESCRIPTION_(name)         \
  WASM_OBJECT_(name)                    \
  WASM_VECTOR_(name, wasm_##name##_t *) \
  WASM_API_EXTERN own wasm_##name##_t *wasm_##name##_copy(const wasm_##name##_t *);

/* References into a store, to which the host may attach something of its own. Copies refer to the same. */
#define WASM_REFERENCE_(name)                                                                \
  WASM_OBJECT_(name)                                                                         \
  WASM_API_EXTERN own wasm_##name##_t *wasm_##name##_copy(const wasm_##name##_t *);          \
  WASM_API_EXTERN bool wasm_##name##_same(const wasm_##name##_t *, const wasm_##name##_t *); \
  WASM_API_EXTERN void *wasm_##name##_get_host_info(const wasm_##name##_t *);                \
  WASM_API_EXTERN void wasm_##name##_set_host_info(wasm_##name##_t *, void *);               \
  WASM_API_EXTERN void wasm_##name##_set_host_info_with_finalizer(wasm_##name##_t *, void *, void (*)(void *));

/* Those that can be seen as any reference, and back: NULL when it is another kind. */
#define WASM_KIND_OF_REFERENCE_(name)                                                    \
  WASM_REFERENCE_(name)                                                                  \
  WASM_API_EXTERN wasm_ref_t *wasm_##name##_as_ref(wasm_##name##_t *);                   \
  WASM_API_EXTERN wasm_##name##_t *wasm_ref_as_##name(wasm_ref_t *);                     \
  WASM_API_EXTERN const wasm_ref_t *wasm_##name##_as_ref_const(const wasm_##name##_t *); \
  WASM_API_EXTERN const wasm_##name##_t *wasm_ref_as_##name##_const(const wasm_ref_t *);

/* Views of one description, or of one external, as the general one, and back. */
#define WASM_VIEWS_(special, general)                                                                          \
  WASM_API_EXTERN wasm_##general##_t *wasm_##special##_as_##general(wasm_##special##_t *);                     \
  WASM_API_EXTERN wasm_##special##_t *wasm_##general##_as_##special(wasm_##general##_t *);                     \
  WASM_API_EXTERN const wasm_##general##_t *wasm_##special##_as_##general##_const(const wasm_##special##_t *); \
  WASM_API_EXTERN const wasm_##special##_t *wasm_##general##_as_##special##_const(const wasm_##general##_t *);

/* --- bytes and names ------------------------------------------------------------------------------------------------ */

WASM_VECTOR_(byte, wasm_byte_t)

typedef wasm_byte_vec_t wasm_name_t; /* UTF-8 */
#define wasm_name wasm_byte_vec
#define wasm_name_new wasm_byte_vec_new
#define wasm_name_new_empty wasm_byte_vec_new_empty
#define wasm_name_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_new_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_copy wasm_byte_vec_copy
#define wasm_name_delete wasm_byte_vec_delete

static inline void wasm_name_new_from_string(own wasm_name_t *out, const char *s) { wasm_byte_vec_new(out, strlen(s), s); }
/* With the NUL. */
static inline void wasm_name_new_from_string_nt(own wasm_name_t *out, const char *s) { wasm_byte_vec_new(out, strlen(s) + 1, s); }

/* --- engines and stores --------------------------------------------------------------------------------------------- */

WASM_OBJECT_(config)
WASM_API_EXTERN own wasm_config_t *wasm_config_new(void);

WASM_OBJECT_(engine)
/* NULL: no engine can be had. */
WASM_API_EXTERN own wasm_engine_t *wasm_engine_new(void);
WASM_API_EXTERN own wasm_engine_t *wasm_engine_new_with_config(own wasm_config_t *);

WASM_OBJECT_(store)
WASM_API_EXTERN own wasm_store_t *wasm_store_new(wasm_engine_t *);

/* --- types ------------------------------------------------------------------------------------------------------------ */

typedef uint8_t wasm_mutability_t;
enum wasm_mutability_enum { WASM_CONST, WASM_VAR };

typedef struct wasm_limits_t {
  uint32_t min, max;
} wasm_limits_t;
/* There is no maximum. */
static const uint32_t wasm_limits_max_default = 0xffffffff;

WASM_DESCRIPTION_(valtype)
typedef uint8_t wasm_valkind_t;
enum wasm_valkind_enum { WASM_I32, WASM_I64, WASM_F32, WASM_F64, WASM_EXTERNREF = 128, WASM_FUNCREF };
#define WASM_ANYREF WASM_EXTERNREF
WASM_API_EXTERN own wasm_valtype_t *wasm_valtype_new(wasm_valkind_t);
WASM_API_EXTERN wasm_valkind_t wasm_valtype_kind(const wasm_valtype_t *);
static inline bool wasm_valkind_is_num(wasm_valkind_t k) { return k < WASM_EXTERNREF; }
static inline bool wasm_valkind_is_ref(wasm_valkind_t k) { return k >= WASM_EXTERNREF; }
static inline bool wasm_valtype_is_num(const wasm_valtype_t *t) { return wasm_valkind_is_num(wasm_valtype_kind(t)); }
static inline bool wasm_valtype_is_ref(const wasm_valtype_t *t) { return wasm_valkind_is_ref(wasm_valtype_kind(t)); }

WASM_DESCRIPTION_(functype)
WASM_API_EXTERN own wasm_functype_t *wasm_functype_new(own wasm_valtype_vec_t *params, own wasm_valtype_vec_t *results);
WASM_API_EXTERN const wasm_valtype_vec_t *wasm_functype_params(const wasm_functype_t *);
WASM_API_EXTERN const wasm_valtype_vec_t *wasm_functype_results(const wasm_functype_t *);

WASM_DESCRIPTION_(globaltype)
WASM_API_EXTERN own wasm_globaltype_t *wasm_globaltype_new(own wasm_valtype_t *, wasm_mutability_t);
WASM_API_EXTERN const wasm_valtype_t *wasm_globaltype_content(const wasm_globaltype_t *);
WASM_API_EXTERN wasm_mutability_t wasm_globaltype_mutability(const wasm_globaltype_t *);

WASM_DESCRIPTION_(tabletype)
WASM_API_EXTERN own wasm_tabletype_t *wasm_tabletype_new(own wasm_valtype_t *, const wasm_limits_t *);
WASM_API_EXTERN const wasm_valtype_t *wasm_tabletype_element(const wasm_tabletype_t *);
WASM_API_EXTERN const wasm_limits_t *wasm_tabletype_limits(const wasm_tabletype_t *);

WASM_DESCRIPTION_(memorytype)
WASM_API_EXTERN own wasm_memorytype_t *wasm_memorytype_new(const wasm_limits_t *);
WASM_API_EXTERN const wasm_limits_t *wasm_memorytype_limits(const wasm_memorytype_t *);

WASM_DESCRIPTION_(externtype)
typedef uint8_t wasm_externkind_t;
enum wasm_externkind_enum { WASM_EXTERN_FUNC, WASM_EXTERN_GLOBAL, WASM_EXTERN_TABLE, WASM_EXTERN_MEMORY };
WASM_API_EXTERN wasm_externkind_t wasm_externtype_kind(const wasm_externtype_t *);
WASM_VIEWS_(functype, externtype)
WASM_VIEWS_(globaltype, externtype)
WASM_VIEWS_(tabletype, externtype)
WASM_VIEWS_(memorytype, externtype)

WASM_DESCRIPTION_(importtype)
WASM_API_EXTERN own wasm_importtype_t *wasm_importtype_new(own wasm_name_t *module, own wasm_name_t *name,
                                                           own wasm_externtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_importtype_module(const wasm_importtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_importtype_name(const wasm_importtype_t *);
WASM_API_EXTERN const wasm_externtype_t *wasm_importtype_type(const wasm_importtype_t *);

WASM_DESCRIPTION_(exporttype)
WASM_API_EXTERN own wasm_exporttype_t *wasm_exporttype_new(own wasm_name_t *, own wasm_externtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_exporttype_name(const wasm_exporttype_t *);
WASM_API_EXTERN const wasm_externtype_t *wasm_exporttype_type(const wasm_exporttype_t *);

/* --- values and references -------------------------------------------------------------------------------------------- */

WASM_REFERENCE_(ref)

typedef struct wasm_val_t {
  wasm_valkind_t kind;
  union {
    int32_t i32;
    int64_t i64;
    float32_t f32;
    float64_t f64;
    wasm_ref_t *ref;
  } of;
} wasm_val_t;
WASM_API_EXTERN void wasm_val_delete(own wasm_val_t *);
WASM_API_EXTERN void wasm_val_copy(own wasm_val_t *out, const wasm_val_t *);
WASM_VECTOR_(val, wasm_val_t)

WASM_KIND_OF_REFERENCE_(instance)

/* --- traps -------------------------------------------------------------------------------------------------------------- */

WASM_OBJECT_(frame)
WASM_VECTOR_(frame, wasm_frame_t *)
WASM_API_EXTERN own wasm_frame_t *wasm_frame_copy(const wasm_frame_t *);
WASM_API_EXTERN wasm_instance_t *wasm_frame_instance(const wasm_frame_t *);
WASM_API_EXTERN uint32_t wasm_frame_func_index(const wasm_frame_t *);
/* Bytes from the function's beginning and from the module's; 0 where compiled code does not tell. */
WASM_API_EXTERN size_t wasm_frame_func_offset(const wasm_frame_t *);
WASM_API_EXTERN size_t wasm_frame_module_offset(const wasm_frame_t *);

typedef wasm_name_t wasm_message_t; /* ends with NUL */
WASM_KIND_OF_REFERENCE_(trap)
WASM_API_EXTERN own wasm_trap_t *wasm_trap_new(wasm_store_t *, const wasm_message_t *);
WASM_API_EXTERN void wasm_trap_message(const wasm_trap_t *, own wasm_message_t *out);
/* NULL: not in a guest. */
WASM_API_EXTERN own wasm_frame_t *wasm_trap_origin(const wasm_trap_t *);
WASM_API_EXTERN void wasm_trap_trace(const wasm_trap_t *, own wasm_frame_vec_t *out);

/* --- objects of the host's --------------------------------------------------------------------------------------------- */

WASM_KIND_OF_REFERENCE_(foreign)
WASM_API_EXTERN own wasm_foreign_t *wasm_foreign_new(wasm_store_t *);

/* --- modules ------------------------------------------------------------------------------------------------------------ */

WASM_KIND_OF_REFERENCE_(module)
WASM_OBJECT_(shared_module)
WASM_API_EXTERN own wasm_shared_module_t *wasm_module_share(const wasm_module_t *);
WASM_API_EXTERN own wasm_module_t *wasm_module_obtain(wasm_store_t *, const wasm_shared_module_t *);
/* NULL: it is not valid. */
WASM_API_EXTERN own wasm_module_t *wasm_module_new(wasm_store_t *, const wasm_byte_vec_t *binary);
WASM_API_EXTERN bool wasm_module_validate(wasm_store_t *, const wasm_byte_vec_t *binary);
WASM_API_EXTERN void wasm_module_imports(const wasm_module_t *, own wasm_importtype_vec_t *out);
WASM_API_EXTERN void wasm_module_exports(const wasm_module_t *, own wasm_exporttype_vec_t *out);
/* An artifact, with machine code for this CPU; empty on failure. What is deserialized runs with all rights of the process. */
WASM_API_EXTERN void wasm_module_serialize(const wasm_module_t *, own wasm_byte_vec_t *out);
WASM_API_EXTERN own wasm_module_t *wasm_module_deserialize(wasm_store_t *, const wasm_byte_vec_t *);

/* --- functions, globals, tables, memories ---------------------------------------------------------------------------- */

WASM_KIND_OF_REFERENCE_(func)
/* Fills results->data, or returns a trap. Runs on a stack of the guest's: 256 KiB, which no exception or longjmp leaves. */
typedef own wasm_trap_t *(*wasm_func_callback_t)(const wasm_val_vec_t *args, own wasm_val_vec_t *results);
typedef own wasm_trap_t *(*wasm_func_callback_with_env_t)(void *env, const wasm_val_vec_t *args, own wasm_val_vec_t *results);
WASM_API_EXTERN own wasm_func_t *wasm_func_new(wasm_store_t *, const wasm_functype_t *, wasm_func_callback_t);
WASM_API_EXTERN own wasm_func_t *wasm_func_new_with_env(wasm_store_t *, const wasm_functype_t *, wasm_func_callback_with_env_t,
                                                        void *env, void (*finalizer)(void *));
WASM_API_EXTERN own wasm_functype_t *wasm_func_type(const wasm_func_t *);
WASM_API_EXTERN size_t wasm_func_param_arity(const wasm_func_t *);
WASM_API_EXTERN size_t wasm_func_result_arity(const wasm_func_t *);
/* NULL: it returned, and results->data is filled. */
WASM_API_EXTERN own wasm_trap_t *wasm_func_call(const wasm_func_t *, const wasm_val_vec_t *args, wasm_val_vec_t *results);

WASM_KIND_OF_REFERENCE_(global)
WASM_API_EXTERN own wasm_global_t *wasm_global_new(wasm_store_t *, const wasm_globaltype_t *, const wasm_val_t *);
WASM_API_EXTERN own wasm_globaltype_t *wasm_global_type(const wasm_global_t *);
WASM_API_EXTERN void wasm_global_get(const wasm_global_t *, own wasm_val_t *out);
WASM_API_EXTERN void wasm_global_set(wasm_global_t *, const wasm_val_t *);

WASM_KIND_OF_REFERENCE_(table)
typedef uint32_t wasm_table_size_t;
WASM_API_EXTERN own wasm_table_t *wasm_table_new(wasm_store_t *, const wasm_tabletype_t *, wasm_ref_t *init);
WASM_API_EXTERN own wasm_tabletype_t *wasm_table_type(const wasm_table_t *);
WASM_API_EXTERN own wasm_ref_t *wasm_table_get(const wasm_table_t *, wasm_table_size_t index);
WASM_API_EXTERN bool wasm_table_set(wasm_table_t *, wasm_table_size_t index, wasm_ref_t *);
WASM_API_EXTERN wasm_table_size_t wasm_table_size(const wasm_table_t *);
WASM_API_EXTERN bool wasm_table_grow(wasm_table_t *, wasm_table_size_t delta, wasm_ref_t *init);

WASM_KIND_OF_REFERENCE_(memory)
typedef uint32_t wasm_memory_pages_t;
static const size_t MEMORY_PAGE_SIZE = 0x10000;
WASM_API_EXTERN own wasm_memory_t *wasm_memory_new(wasm_store_t *, const wasm_memorytype_t *);
WASM_API_EXTERN own wasm_memorytype_t *wasm_memory_type(const wasm_memory_t *);
WASM_API_EXTERN byte_t *wasm_memory_data(wasm_memory_t *);
WASM_API_EXTERN size_t wasm_memory_data_size(const wasm_memory_t *);
WASM_API_EXTERN wasm_memory_pages_t wasm_memory_size(const wasm_memory_t *);
WASM_API_EXTERN bool wasm_memory_grow(wasm_memory_t *, wasm_memory_pages_t delta);

/* --- externals and instances -------------------------------------------------------------------------------------------- */

WASM_KIND_OF_REFERENCE_(extern)
WASM_VECTOR_(extern, wasm_extern_t *)
WASM_API_EXTERN wasm_externkind_t wasm_extern_kind(const wasm_extern_t *);
WASM_API_EXTERN own wasm_externtype_t *wasm_extern_type(const wasm_extern_t *);
WASM_VIEWS_(func, extern)
WASM_VIEWS_(global, extern)
WASM_VIEWS_(table, extern)
WASM_VIEWS_(memory, extern)

/* NULL: it cannot be linked, or its start function trapped; *trap says why, unless `trap` is NULL. `imports` in the module's
 * order. */
WASM_API_EXTERN own wasm_instance_t *wasm_instance_new(wasm_store_t *, const wasm_module_t *, const wasm_extern_vec_t *imports,
                                                       own wasm_trap_t **trap);
WASM_API_EXTERN void wasm_instance_exports(const wasm_instance_t *, own wasm_extern_vec_t *out);

/* --- in short --------------------------------------------------------------------------------------------------------- */

static inline own wasm_valtype_t *wasm_valtype_new_i32(void) { return wasm_valtype_new(WASM_I32); }
static inline own wasm_valtype_t *wasm_valtype_new_i64(void) { return wasm_valtype_new(WASM_I64); }
static inline own wasm_valtype_t *wasm_valtype_new_f32(void) { return wasm_valtype_new(WASM_F32); }
static inline own wasm_valtype_t *wasm_valtype_new_f64(void) { return wasm_valtype_new(WASM_F64); }
static inline own wasm_valtype_t *wasm_valtype_new_externref(void) { return wasm_valtype_new(WASM_EXTERNREF); }
static inline own wasm_valtype_t *wasm_valtype_new_anyref(void) { return wasm_valtype_new(WASM_EXTERNREF); }
static inline own wasm_valtype_t *wasm_valtype_new_funcref(void) { return wasm_valtype_new(WASM_FUNCREF); }

/* Function types: n parameters, m results. */
static inline own wasm_functype_t *wasm_functype_new_of_(size_t n, wasm_valtype_t *const params[], size_t m,
                                                         wasm_valtype_t *const results[]) {
  wasm_valtype_vec_t p, r;
  wasm_valtype_vec_new(&p, n, params);
  wasm_valtype_vec_new(&r, m, results);
  return wasm_functype_new(&p, &r);
}
#define WASM_T_ own wasm_valtype_t *
static inline own wasm_functype_t *wasm_functype_new_0_0(void) { return wasm_functype_new_of_(0, NULL, 0, NULL); }
static inline own wasm_functype_t *wasm_functype_new_1_0(WASM_T_ p1) { return wasm_functype_new_of_(1, &p1, 0, NULL); }
static inline own wasm_functype_t *wasm_functype_new_2_0(WASM_T_ p1, WASM_T_ p2) {
  wasm_valtype_t *ps[2] = {p1, p2};
  return wasm_functype_new_of_(2, ps, 0, NULL);
}
static inline own wasm_functype_t *wasm_functype_new_3_0(WASM_T_ p1, WASM_T_ p2, WASM_T_ p3) {
  wasm_valtype_t *ps[3] = {p1, p2, p3};
  return wasm_functype_new_of_(3, ps, 0, NULL);
}
static inline own wasm_functype_t *wasm_functype_new_0_1(WASM_T_ r) { return wasm_functype_new_of_(0, NULL, 1, &r); }
static inline own wasm_functype_t *wasm_functype_new_1_1(WASM_T_ p1, WASM_T_ r) { return wasm_functype_new_of_(1, &p1, 1, &r); }
static inline own wasm_functype_t *wasm_functype_new_2_1(WASM_T_ p1, WASM_T_ p2, WASM_T_ r) {
  wasm_valtype_t *ps[2] = {p1, p2};
  return wasm_functype_new_of_(2, ps, 1, &r);
}
static inline own wasm_functype_t *wasm_functype_new_3_1(WASM_T_ p1, WASM_T_ p2, WASM_T_ p3, WASM_T_ r) {
  wasm_valtype_t *ps[3] = {p1, p2, p3};
  return wasm_functype_new_of_(3, ps, 1, &r);
}
static inline own wasm_functype_t *wasm_functype_new_0_2(WASM_T_ r1, WASM_T_ r2) {
  wasm_valtype_t *rs[2] = {r1, r2};
  return wasm_functype_new_of_(0, NULL, 2, rs);
}
static inline own wasm_functype_t *wasm_functype_new_1_2(WASM_T_ p1, WASM_T_ r1, WASM_T_ r2) {
  wasm_valtype_t *rs[2] = {r1, r2};
  return wasm_functype_new_of_(1, &p1, 2, rs);
}
static inline own wasm_functype_t *wasm_functype_new_2_2(WASM_T_ p1, WASM_T_ p2, WASM_T_ r1, WASM_T_ r2) {
  wasm_valtype_t *ps[2] = {p1, p2}, *rs[2] = {r1, r2};
  return wasm_functype_new_of_(2, ps, 2, rs);
}
static inline own wasm_functype_t *wasm_functype_new_3_2(WASM_T_ p1, WASM_T_ p2, WASM_T_ p3, WASM_T_ r1, WASM_T_ r2) {
  wasm_valtype_t *ps[3] = {p1, p2, p3}, *rs[2] = {r1, r2};
  return wasm_functype_new_of_(3, ps, 2, rs);
}
#undef WASM_T_

/* Pointers of the host's as numbers. */
static inline void wasm_val_init_ptr(own wasm_val_t *out, void *p) {
  out->kind = WASM_I64;
  out->of.i64 = (int64_t)(intptr_t)p;
}
static inline void *wasm_val_ptr(const wasm_val_t *v) { return (void *)(intptr_t)v->of.i64; }

/* Initialisers. */
#ifdef __cplusplus
#define WASM_VALUE_(k, member, x) wasm_value_of_##member##_(x)
static inline wasm_val_t wasm_value_of_i32_(int32_t x) {
  wasm_val_t v = {WASM_I32, {0}};
  v.of.i32 = x;
  return v;
}
static inline wasm_val_t wasm_value_of_i64_(int64_t x) {
  wasm_val_t v = {WASM_I64, {0}};
  v.of.i64 = x;
  return v;
}
static inline wasm_val_t wasm_value_of_f32_(float32_t x) {
  wasm_val_t v = {WASM_F32, {0}};
  v.of.f32 = x;
  return v;
}
static inline wasm_val_t wasm_value_of_f64_(float64_t x) {
  wasm_val_t v = {WASM_F64, {0}};
  v.of.f64 = x;
  return v;
}
static inline wasm_val_t wasm_value_of_ref_(wasm_ref_t *x) {
  wasm_val_t v = {WASM_EXTERNREF, {0}};
  v.of.ref = x;
  return v;
}
#else
#define WASM_VALUE_(k, member, x)   \
  {                                 \
    .kind = k, .of = {.member = x } \
  }
#endif
#define WASM_I32_VAL(x) WASM_VALUE_(WASM_I32, i32, x)
#define WASM_I64_VAL(x) WASM_VALUE_(WASM_I64, i64, x)
#define WASM_F32_VAL(x) WASM_VALUE_(WASM_F32, f32, x)
#define WASM_F64_VAL(x) WASM_VALUE_(WASM_F64, f64, x)
#define WASM_REF_VAL(x) WASM_VALUE_(WASM_EXTERNREF, ref, x)
#define WASM_INIT_VAL WASM_VALUE_(WASM_EXTERNREF, ref, NULL)
#define WASM_EMPTY_VEC \
  { 0, NULL }
#define WASM_ARRAY_VEC(array) \
  { sizeof(array) / sizeof *(array), array }

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#undef own

#endif
