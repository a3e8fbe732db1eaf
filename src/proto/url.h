/* url.h - percent-decoding of a path (RFC 3986, section 2.1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_URL_H
#define GL_PROTO_URL_H

#include "base/str.h"

#include <sys/types.h>

/* Decodes src into dst (at least src.n bytes; may be src.p itself).  '+' is
 * not touched.  Returns the decoded length, or -1 for a '%' without two hex
 * digits and for "%00", which no file name or path can hold. */
ssize_t gl_url_decode(char *dst, struct gl_str src);

#endif
