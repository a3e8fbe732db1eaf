/* url.c - percent-decoding of a path (RFC 3986, section 2.1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/url.h"

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ssize_t
gl_url_decode(char *dst, struct gl_str src)
{
    size_t out = 0;

    for (size_t i = 0; i < src.n; i++) {
        int high, low;

        if (src.p[i] != '%') {
            dst[out++] = src.p[i];
            continue;
        }
        if (src.n - i < 3) {
            return -1;
        }
        high = hex_value(src.p[i + 1]);
        low = hex_value(src.p[i + 2]);
        if (high < 0 || low < 0 || high + low == 0) {
            return -1;
        }
        dst[out++] = (char)(high * 16 + low);
        i += 2;
    }
    return (ssize_t)out;
}
