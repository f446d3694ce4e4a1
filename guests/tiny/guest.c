/*
 * The tiny guest: fills memory with the pattern of ../pattern.h, keeps dirtying a share of it, and tells on COM1.
 *
 * Every tick: rewrite some pages, verify some pages (in turn, over all of them, for ever), print one line on COM1:
 *
 *     culvert-guest count=N verified=PAGES bad=N gen=ROUND pass=N index=PAGES
 *
 * count goes up by one with each line; verified is the number of pages verified since boot; pass counts how often
 * all pages have been verified; index is how many pages of the working set have been rewritten in this round. A bad page is told at once: "verify BAD page=.. word=.. expected=.. found=..".
 * Commands (one byte, COM1 or COM2, answered where they came from): v verify all memory, s status, p power off,
 * r reset. The ACPI power button powers off as well.
 */

#include <stdint.h>

#include "../pattern.h"

#define FIRST_BYTE 0x200000u
#define VERIFY_CHUNK 1024u
#define MOST_TICKS_AT_ONCE 4u /* after a long stop the work of at most so many ticks is made up for */
#define AS_FAST_AS_IT_CAN 0xffffffffu
#define DIRTY_CHUNK 64u /* pages between looks whether a tick has come */

/* The parameter sector; little endian, in this order (guests/tiny_image.py writes it). */
struct parameters {
    char magic[8];
    uint32_t pages;           /* pages filled */
    uint32_t dirty_pages;     /* size of the working set; 0: nothing is dirtied */
    uint32_t dirty_per_tick;  /* pages rewritten in a tick; or AS_FAST_AS_IT_CAN */
    uint32_t verify_per_tick; /* pages verified in a tick */
    uint32_t hz;              /* ticks in a second */
    uint32_t break_page;      /* 1 + a page to spoil after the first pass, for tests of the tests; 0: none */
    uint32_t fill;            /* FILL_...: what the pages outside of the working set hold */
    uint32_t touch;           /* 1: a rewrite changes one word of a page */
};

extern volatile struct parameters parameters;
volatile uint32_t ticks;

static struct pattern memory = {.base = (uint32_t *)FIRST_BYTE};
static uint32_t count;

/* ---- ports ------------------------------------------------------------------------------------------------------ */
static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint16_t in16(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }

/* ---- serial lines: output waits in a ring, so that a reader who does not read never stops the guest --------------- */
#define RING 2048u

struct line {
    uint16_t port;
    uint8_t present;
    uint32_t head, tail; /* head - tail bytes wait */
    char ring[RING];
};
static struct line lines[2] = {{.port = 0x3f8}, {.port = 0x2f8}};

static void line_init(struct line *l)
{
    out8(l->port + 7, 0x5a); /* scratch register: there is a UART where it can be read back */
    l->present = in8(l->port + 7) == 0x5a;
    out8(l->port + 1, 0);    /* no interrupts */
    out8(l->port + 3, 0x80); /* divisor 1: 115200 */
    out8(l->port + 0, 1);
    out8(l->port + 1, 0);
    out8(l->port + 3, 3);    /* 8N1 */
    out8(l->port + 2, 0xc7); /* FIFO on and empty */
    out8(l->port + 4, 3);    /* DTR, RTS */
}

static void line_pump(struct line *l)
{
    uint32_t patience = 64;
    while (l->present && l->tail != l->head && patience) {
        if (in8(l->port + 5) & 0x20)
            out8(l->port, (uint8_t)l->ring[l->tail++ % RING]);
        else
            patience--;
    }
}

static void put(struct line *l, char c)
{
    if (l->present && l->head - l->tail < RING)
        l->ring[l->head++ % RING] = c;
}

static void text(struct line *l, const char *s)
{
    for (; *s; s++)
        put(l, *s);
}

static void number(struct line *l, const char *name, uint32_t value)
{
    char digits[10];
    int n = 0;
    text(l, name);
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        put(l, digits[--n]);
}

static void tell_bad(uint32_t page, uint32_t word, uint32_t expected, uint32_t found)
{
    for (int i = 0; i < 2; i++) {
        number(&lines[i], "\nverify BAD page=", page);
        number(&lines[i], " word=", word);
        number(&lines[i], " expected=", expected);
        number(&lines[i], " found=", found);
        put(&lines[i], '\n');
    }
}

/* ---- what is said -------------------------------------------------------------------------------------------------- */
static void report(struct line *l)
{
    if (l->head != l->tail) /* the reader is slow: no line now, and so no gap in the counter */
        return;
    number(l, "culvert-guest count=", ++count);
    number(l, " verified=", memory.verified);
    number(l, " bad=", memory.bad);
    number(l, " gen=", memory.round);
    number(l, " pass=", memory.passes);
    number(l, " index=", memory.index);
    put(l, '\n');
}

static void status(struct line *l, const char *what)
{
    text(l, what);
    number(l, " pages=", memory.pages);
    number(l, " dirty_pages=", memory.dirty_pages);
    number(l, " dirty_per_tick=", parameters.dirty_per_tick);
    number(l, " verify_per_tick=", parameters.verify_per_tick);
    number(l, " hz=", parameters.hz);
    put(l, '\n');
}

/* ---- commands --------------------------------------------------------------------------------------------------- */
#define PM1_STATUS 0x600  /* SeaBIOS puts the ACPI registers of PIIX4 and ICH9 here (src/config.h, PORT_ACPI_PM_BASE) */
#define PM1_ENABLE 0x602
#define PM1_CONTROL 0x604
#define POWER_BUTTON 0x100
#define SLEEP_S5 0x2000 /* sleep enable, type 0: soft off on both (hw/acpi/core.c, acpi_pm1_cnt_write) */

static struct line *asker; /* who waits for a verification */
static uint32_t asked_index, asked_bad;

static void power_off(void) { out16(PM1_CONTROL, SLEEP_S5); }

static void reset(void) { out8(0x64, 0xfe); /* keyboard controller: pulse the reset line */ }

static void command(struct line *l, char c)
{
    switch (c) {
    case 'v':
        asker = l;
        asked_index = 0;
        asked_bad = memory.bad;
        break;
    case 's': status(l, "status"); break;
    case 'p': power_off(); break;
    case 'r': reset(); break;
    case '\r': case '\n': break;
    default: text(l, "commands: v verify, s status, p power off, r reset\n");
    }
}

static void listen(struct line *l)
{
    while (l->present && in8(l->port + 5) & 1)
        command(l, (char)in8(l->port));
}

static void answer(void)
{
    if (!asker)
        return;
    for (uint32_t i = 0; i < VERIFY_CHUNK && asked_index < memory.pages; i++)
        pattern_verify(&memory, asked_index++);
    if (asked_index < memory.pages)
        return;
    number(asker, memory.bad == asked_bad ? "verify ok pages=" : "verify failed pages=", asked_index);
    number(asker, " bad=", memory.bad - asked_bad);
    number(asker, " gen=", memory.round);
    put(asker, '\n');
    asker = 0;
}

/* ---- start ------------------------------------------------------------------------------------------------------ */
extern void timer_entry(void), other_entry(void);
static uint64_t idt[48];
static struct { uint16_t limit; uint32_t base; } __attribute__((packed)) idt_pointer;

static void set_gate(int vector, void (*entry)(void))
{
    uint32_t a = (uint32_t)entry;
    idt[vector] = (uint64_t)(a & 0xffff0000u) << 32 | 0x8e0000000000ull | 8u << 16 | (a & 0xffff);
}

static void timer_init(uint32_t hz)
{
    static const uint8_t words[] = {0x11, 0x20, 4, 1, 0x11, 0x28, 2, 1}; /* 8259: vectors from 32 */
    uint32_t divisor = 1193182u / hz;
    for (int i = 0; i < 8; i++)
        out8((i < 4 ? 0x20 : 0xa0) + (i % 4 ? 1 : 0), words[i]);
    out8(0x21, 0xfe); /* only the timer */
    out8(0xa1, 0xff);
    for (int i = 32; i < 48; i++)
        set_gate(i, other_entry);
    set_gate(32, timer_entry);
    idt_pointer.limit = sizeof idt - 1;
    idt_pointer.base = (uint32_t)idt;
    __asm__ volatile("lidt %0" : : "m"(idt_pointer));
    out8(0x43, 0x34); /* channel 0, rate generator */
    out8(0x40, divisor & 0xff);
    out8(0x40, divisor >> 8 & 0xff);
    __asm__ volatile("sti");
}

void guest_main(void)
{
    uint32_t seen;
    memory.pages = parameters.pages;
    memory.dirty_pages = parameters.dirty_pages;
    memory.fill = parameters.fill;
    memory.touch = parameters.touch;
    for (int i = 0; i < 2; i++)
        line_init(&lines[i]);
    status(&lines[0], "culvert-guest boot");
    line_pump(&lines[0]);
    pattern_fill(&memory);
    timer_init(parameters.hz);
    out16(PM1_ENABLE, POWER_BUTTON); /* without it a press is not even noted; its interrupt stays masked */
    seen = ticks;
    for (;;) {
        uint32_t due;
        if (parameters.dirty_per_tick == AS_FAST_AS_IT_CAN)
            do
                pattern_dirty(&memory, DIRTY_CHUNK);
            while (ticks == seen);
        __asm__ volatile("cli");
        if (ticks == seen)
            __asm__ volatile("sti; hlt"); /* sti takes effect after the next instruction: no tick is missed */
        __asm__ volatile("sti");
        due = ticks - seen;
        seen = ticks;
        if (due > MOST_TICKS_AT_ONCE)
            due = MOST_TICKS_AT_ONCE;
        if (parameters.dirty_per_tick != AS_FAST_AS_IT_CAN)
            pattern_dirty(&memory, due * parameters.dirty_per_tick);
        pattern_pass(&memory, due * parameters.verify_per_tick, parameters.break_page);
        answer();
        if (due)
            report(&lines[0]);
        for (int i = 0; i < 2; i++) {
            line_pump(&lines[i]);
            listen(&lines[i]);
        }
        uint16_t events = in16(PM1_STATUS); /* all ones: a machine without ACPI */
        if (events != 0xffff && events & POWER_BUTTON) {
            out16(PM1_STATUS, POWER_BUTTON);
            power_off();
        }
    }
}
