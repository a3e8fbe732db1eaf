/* list.h - intrusive doubly linked list, header only.
 *
 * A list head and a link are the same type.  A head is initialised by
 * gl_list_init; a zeroed link is "in no list".  The list owns nothing; the
 * struct that embeds the link must leave the list before it is freed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_LIST_H
#define GL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct gl_list {
    struct gl_list *prev; /* borrowed neighbours; NULL when in no list */
    struct gl_list *next;
};

static inline void
gl_list_init(struct gl_list *head)
{
    head->prev = head->next = head;
}

static inline bool
gl_list_empty(const struct gl_list *head)
{
    return head->next == head;
}

static inline bool
gl_list_linked(const struct gl_list *link)
{
    return link->next != NULL;
}

/* Puts `link` (in no list) at the end of the list. */
static inline void
gl_list_push(struct gl_list *head, struct gl_list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Takes `link` out of its list; harmless when it is in none. */
static inline void
gl_list_remove(struct gl_list *link)
{
    if (link->next != NULL) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->prev = link->next = NULL;
    }
}

/* Puts `link` (in no list) at the beginning of the list. */
static inline void
gl_list_push_front(struct gl_list *head, struct gl_list *link)
{
    gl_list_push(head->next, link);
}

/* Takes the first link out, or returns NULL when the list is empty. */
static inline struct gl_list *
gl_list_pop(struct gl_list *head)
{
    struct gl_list *first = head->next;

    if (first == head) {
        return NULL;
    }
    gl_list_remove(first);
    return first;
}

#endif
