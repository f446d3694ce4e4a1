/*
 * Boot of the tiny guest: from real mode (a disk) or from multiboot (QEMU's -kernel) into guest_main.
 *
 * One flat file serves both ways:
 *
 *   file offset   address    what
 *   0             0x7c00     boot sector: reads the rest of the file to 0x10200 and enters protected mode
 *   512           0x10200    parameter sector (struct parameters in guest.c), patched by whoever makes the image
 *   1024          0x10400    multiboot header, 32-bit code, data
 *
 * Sources: multiboot specification 0.6.96 section 3.1 (header, "a.out kludge": load addresses in the header, so that a
 * flat file is loaded); Phoenix Enhanced Disk Drive specification 1.1 (INT 13h function 42h).
 */

        .set    LOAD, 0x10200           /* where everything after the boot sector lives */
        .set    STACK, 0x80000          /* below the extended BIOS data area */

/* ---- boot sector ------------------------------------------------------------------------------------------------ */
        .section .boot, "ax"
        .code16
        .globl  _boot
_boot:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        ljmp    $0, $1f                 /* some firmware starts us as 07c0:0000 */
1:      movb    $0x42, %ah              /* extended read; DL still holds the boot drive */
        movw    $disk_packet, %si
        int     $0x13
        jc      stuck
        inb     $0x92, %al              /* A20 by the system control port */
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        lgdt    gdt_pointer16
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $start32
stuck:  hlt
        jmp     stuck

        .balign 4
disk_packet:
        .byte   16, 0
        .word   _sectors                /* from the linker script: sectors after the first */
        .word   LOAD & 0xf, LOAD >> 4   /* offset, segment */
        .quad   1                       /* first sector to read */

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff      /* 0x08: flat code */
        .quad   0x00cf92000000ffff      /* 0x10: flat data */
gdt_pointer16:
        .word   . - gdt - 1
        .long   gdt

        .org    510
        .word   0xaa55

/* ---- parameters ------------------------------------------------------------------------------------------------- */
        .section .parameters, "aw"
        .globl  parameters
parameters:
        .ascii  "CULVTINY"
        .fill   504, 1, 0

/* ---- 32-bit start ----------------------------------------------------------------------------------------------- */
        .section .start, "ax"
        .code32
        .balign 4
        .set    MULTIBOOT_FLAGS, 0x00010000
multiboot_header:
        .long   0x1badb002, MULTIBOOT_FLAGS, -(0x1badb002 + MULTIBOOT_FLAGS)
        .long   multiboot_header, LOAD - 512, _data_end, _bss_end, start32

gdt32:  .quad   0
        .quad   0x00cf9a000000ffff
        .quad   0x00cf92000000ffff
gdt_pointer32:
        .word   . - gdt32 - 1
        .long   gdt32

        .globl  start32
start32:
        cli
        lgdt    gdt_pointer32           /* a multiboot loader's table is not ours to keep */
        ljmp    $8, $2f
2:      movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    $STACK, %esp
        cld
        xorl    %eax, %eax
        movl    $_bss_start, %edi
        movl    $_bss_end, %ecx
        subl    %edi, %ecx
        rep stosb
        call    guest_main
3:      cli
        hlt
        jmp     3b

/* Timer interrupt: one tick more. */
        .globl  timer_entry
timer_entry:
        pushl   %eax
        incl    ticks
        movb    $0x20, %al
        outb    %al, $0x20
        popl    %eax
        iret

/* Any other interrupt of the first controller (a spurious one): acknowledge and go on. */
        .globl  other_entry
other_entry:
        pushl   %eax
        movb    $0x20, %al
        outb    %al, $0x20
        popl    %eax
        iret

        .section .note.GNU-stack, "", @progbits
