/* trust.h - which proxies are believed, and what they say in an environ.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_TRUST_H
#define GL_PY_TRUST_H

#include "py/exchange.h"

/* Reads two comma-separated lists: networks, and names of header fields (none:
 * the usual ones).  *ret_trust is the caller's, to be released.  0, or -1 with
 * ValueError. */
int gl_trust_read(const char *proxies, const char *headers,
                  struct gl_trust *ret_trust);
/* Puts what the fields of a request from a trusted proxy say into its
 * environ, which has those fields already.  0 or -1. */
int gl_trust_put(GlExchange *x, PyObject *env);

extern PyMethodDef gl_trust_functions[];

#endif
