/*
 * The memory pattern of both guests: what every word of a row of pages has to be, at any moment.
 *
 * Page p at generation g holds
 *
 *     word 0: p    word 1: g    words 2..1023: x += PATTERN_STEP, starting at pattern_seed(p, g)
 *
 * The first dirty_pages of them are the working set: they are rewritten in turn, for ever, each time with the next
 * generation. (round, index) is all there is to know: pages before index have generation round + 1, the others of the
 * working set round, all other pages 0. So a page that a migration lost, mixed up or brought in an older state is found.
 *
 * Words of this kind cannot be compressed. For measurements the pages outside of the working set can hold something
 * else (fill): nothing but zeros, or letters that compress about as well as English text does.
 *
 * With touch a rewrite changes nothing but word 1: the sequence stays that of generation 0. So even an emulated processor
 * dirties pages faster than they can be sent, and a page in an older state is found all the same.
 *
 * The including file defines tell_bad(page, word, expected, found).
 */
#pragma once
#include <stdint.h>

#define PATTERN_WORDS 1024u
#define PATTERN_STEP 0x9e3779b9u /* 2^32 / golden ratio: x walks through all 32-bit values */

enum { FILL_SEQUENCE, FILL_ZEROS, FILL_TEXT };

struct pattern {
    uint32_t *base;
    uint32_t pages, dirty_pages;
    uint32_t fill;                   /* of the pages outside of the working set */
    uint32_t touch;                  /* 1: a rewrite changes word 1 only */
    uint32_t round, index;           /* the working set: complete rounds, pages of this round */
    uint32_t passes, pass_index;     /* verification: complete passes, next page of this pass */
    uint32_t verified, bad;          /* pages, since boot */
};

static void tell_bad(uint32_t page, uint32_t word, uint32_t expected, uint32_t found);

static inline uint32_t *pattern_page(const struct pattern *p, uint32_t page)
{
    return p->base + (uintptr_t)page * PATTERN_WORDS;
}

static inline uint32_t pattern_seed(uint32_t page, uint32_t generation)
{
    uint32_t x = (page * 0x85ebca6bu) ^ ((generation + 1) * 0xc2b2ae35u); /* murmur3's finaliser multiplies by these */
    return x ^ (x >> 15);
}

static inline uint32_t pattern_generation(const struct pattern *p, uint32_t page)
{
    return page < p->dirty_pages ? p->round + (page < p->index) : 0;
}

/* A word of a page that holds no sequence; x walks on (Numerical Recipes' linear congruential generator). */
static uint32_t pattern_other(const struct pattern *p, uint32_t *x)
{
    static const char letters[257] =
        "the and of to in a is that it was for on are as with his they at be this have from or one had by word but not "
        "what all were we when your can said there use an each which she do how their if will up other about out many "
        "then them these so some her would she";
    uint32_t word;
    if (p->fill == FILL_ZEROS)
        return 0;
    *x = *x * 1664525u + 1013904223u;
    __builtin_memcpy(&word, letters + (*x >> 26) * 4, 4);
    return word;
}

static inline int pattern_is_other(const struct pattern *p, uint32_t page)
{
    return p->fill != FILL_SEQUENCE && page >= p->dirty_pages;
}

static void pattern_write_other(struct pattern *p, uint32_t page)
{
    uint32_t *word = pattern_page(p, page), x = pattern_seed(page, 0);
    for (uint32_t i = 0; i < PATTERN_WORDS; i++)
        word[i] = pattern_other(p, &x);
}

static void pattern_verify_other(struct pattern *p, uint32_t page)
{
    uint32_t *word = pattern_page(p, page), x = pattern_seed(page, 0);
    for (uint32_t i = 0; i < PATTERN_WORDS; i++) {
        uint32_t expected = pattern_other(p, &x);
        if (word[i] == expected)
            continue;
        p->bad++;
        tell_bad(page, i, expected, word[i]);
        return;
    }
}

static void pattern_write(struct pattern *p, uint32_t page, uint32_t generation)
{
    uint32_t *word = pattern_page(p, page), x = pattern_seed(page, generation);
    if (pattern_is_other(p, page)) {
        pattern_write_other(p, page);
        return;
    }
    word[1] = generation;
    if (p->touch && generation)
        return;
    word[0] = page;
    for (uint32_t i = 2; i < PATTERN_WORDS; i++)
        word[i] = x += PATTERN_STEP;
}

static void pattern_verify(struct pattern *p, uint32_t page)
{
    uint32_t *word = pattern_page(p, page), generation = pattern_generation(p, page);
    uint32_t x = pattern_seed(page, p->touch ? 0 : generation), i = 2, expected;
    p->verified++;
    if (pattern_is_other(p, page)) {
        pattern_verify_other(p, page);
        return;
    }
    if (word[0] != page)
        i = 0, expected = page;
    else if (word[1] != generation)
        i = 1, expected = generation;
    else {
        for (expected = x += PATTERN_STEP; word[i] == expected; expected = x += PATTERN_STEP)
            if (++i == PATTERN_WORDS)
                return;
    }
    p->bad++;
    tell_bad(page, i, expected, word[i]);
}

/* Generation 0 everywhere. */
static void pattern_fill(struct pattern *p)
{
    for (uint32_t page = 0; page < p->pages; page++)
        pattern_write(p, page, 0);
}

/* Rewrite the next pages of the working set. */
static void pattern_dirty(struct pattern *p, uint32_t pages)
{
    while (p->dirty_pages && pages--) {
        pattern_write(p, p->index, p->round + 1);
        if (++p->index == p->dirty_pages) {
            p->index = 0;
            p->round++;
        }
    }
}

/* Verify the next pages of the pass under way; spoils page break_page - 1 after the first pass, unless that is 0. */
static void pattern_pass(struct pattern *p, uint32_t pages, uint32_t break_page)
{
    while (pages--) {
        pattern_verify(p, p->pass_index);
        if (++p->pass_index == p->pages) {
            p->pass_index = 0;
            if (p->passes++ == 0 && break_page)
                pattern_page(p, break_page - 1)[7] ^= 1;
        }
    }
}
