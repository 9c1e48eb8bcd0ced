/* utlist.h - see opaque.h. */
#include_next <utlist.h>

#include "opaque.h"

#undef DL_APPEND2
#define DL_APPEND2(head, add, prev, next) ((head) = opaque_add((head), (add)))
#undef DL_PREPEND2
#define DL_PREPEND2(head, add, prev, next) ((head) = opaque_add((head), (add)))
#undef DL_DELETE2
#define DL_DELETE2(head, del, prev, next) ((head) = opaque_delete((head), (del)))
