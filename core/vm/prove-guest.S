# What capstan doctor boots: one sector that says a word on the first serial port and powers the
# machine off. SPDX-License-Identifier: BSD-3-Clause
#
# prove-guest.h has it as bytes, so that nothing has to be assembled where capstan is built;
# tests/cli/doctor.sh assembles this and compares. After a change:
#   as --32 -o x.o prove-guest.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o x x.o
#   od -An -v -tx1 x | sed 's/ \(..\)/0x\1, /g'
.intel_syntax noprefix
.code16
.globl _start
.equ COM1, 0x3f8

_start:
  cli
  cld
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  mov si, offset setup
1: lodsb                 # the port's registers, with what goes into each
  mov dx, COM1
  add dl, al
  lodsb
  out dx, al
  cmp si, offset said
  jne 1b

2: lodsb
  mov ah, 0x20           # until it takes a byte
  test al, al
  jz 4f
  call wait
  mov dl, COM1 & 0xff
  out dx, al
  jmp 2b

4: mov ah, 0x40          # until the last one has left
  call wait
  mov dx, 0x604          # QEMU
  mov ax, 0x2000
  out dx, ax
  mov dx, 0x4004         # VirtualBox
  mov ax, 0x3400
  out dx, ax
5: hlt
  jmp 5b

wait:                    # AH: the bit of the line status to wait for; keeps AL
  mov dx, COM1 + 5
  mov bl, al
3: in al, dx
  test al, ah
  jz 3b
  mov al, bl
  ret

setup: # no interrupts; 115200 8n1; FIFOs on; DTR and RTS
  .byte 1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 7, 4, 3
said: .asciz "capstan\n"

  .org 510
  .byte 0x55, 0xaa
