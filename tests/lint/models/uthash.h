/* uthash.h - see opaque.h. */
#include_next <uthash.h>

#include "opaque.h"

#undef HASH_FIND
#define HASH_FIND(hh, head, key, len, out) ((out) = opaque_find((head), (key)))
#undef HASH_ADD
#define HASH_ADD(hh, head, key, len, add) ((head) = opaque_add((head), (add)))
#undef HASH_ADD_KEYPTR
#define HASH_ADD_KEYPTR(hh, head, key, len, add) ((void)(key), (head) = opaque_add((head), (add)))
#undef HASH_DELETE
#define HASH_DELETE(hh, head, del) ((head) = opaque_delete((head), (del)))
