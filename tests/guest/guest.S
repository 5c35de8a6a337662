# A guest small enough for every hypervisor, also for one that interprets each instruction:
# a boot sector and what it loads. SPDX-License-Identifier: BSD-3-Clause
#
# It keeps to the guest contract. On the first serial port it prints the command line from
# byte 512, and of partition 2 the first 8 bytes and the two at 1080 (where ext4 has its
# magic number), in hex. On the second it writes "ready" and, before it powers the machine
# off, "exit N". The last word of the command line says what it does in between:
#   a digit   it ends with that status
#   hold      it echoes what comes on the first port, in upper case, until the second says
#             "stop"
#   flood     it prints 4,000 numbered lines of 24 bytes
#   disk      of the second disk it prints the first 8 bytes, in hex, and overwrites four with
#             "wrot"; status 5: that was refused; 6: there is none
#   fault     the processor shuts down (triple fault)
# Any other word: it ends with status 0.
.intel_syntax noprefix
.code16
.globl _start
.equ COM1, 0x3f8
.equ COM2, 0x2f8
.equ STAGE2, 0x7e00
.equ SECTORS, 4          # of stage 2
.equ LINE_SEG, 0x1000    # where the command line is read to
.equ PART, 0xa000        # and the start of partition 2
.equ LINES, 4000

_start:
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  sti
  mov [drive], dl
  mov si, offset load2
  call read
  jmp 0:STAGE2

read:                    # SI: a disk address packet
  mov ah, 0x42
  mov dl, [drive]
  int 0x13
  jc failed
  ret
failed:
  hlt
  jmp failed

load2: .byte 16, 0
  .word SECTORS, STAGE2, 0
  .quad 128
drive: .byte 0

  .org 0x1be             # the partition table; the composer fills entry 2
  .zero 64
  .byte 0x55, 0xaa

# ---- stage 2, at LBA 128; loaded behind the boot sector ----
  .org 512
stage2:
  cld
  mov dx, COM1
  call port_init
  mov dx, COM2
  call port_init
  mov si, offset load_line
  call read
  mov ax, LINE_SEG
  mov ds, ax
  xor si, si
  xor bp, bp             # BP: where the last word begins
print_line:
  lodsb
  test al, al
  jz line_end
  cmp al, ' '
  jne not_blank
  mov bp, si
not_blank:
  call put1
  jmp print_line
line_end:
  xor ax, ax
  mov ds, ax
  call newline

  # partition 2
  mov eax, [0x7c00 + 0x1ce + 8]
  mov [load_part_lba], eax
  mov si, offset load_part
  call read
  mov si, PART
  mov cx, 8
  call hex
  mov al, ' '
  call put1
  mov si, PART + 1080
  mov cx, 2
  call hex
  call newline

  mov si, offset ready
  call say2

  # the last word
  mov ax, LINE_SEG
  mov es, ax
  mov al, es:[bp]
  cmp al, 'h'
  je hold
  cmp al, 'd'
  je disk
  cmp al, 'f'
  jne digit
  cmp byte ptr es:[bp + 1], 'l'
  je flood
  lidt [no_idt]  # fault: there is no handler for anything
  int 3
digit:
  sub al, '0'
  cmp al, 9
  jbe leave
  xor al, al

leave:                   # AL: the status
  add al, '0'
  mov [status], al
  mov si, offset exit
  call say2
  mov dx, COM1
  call drain
  mov dx, COM2
  call drain
  mov dx, 0x604          # QEMU
  mov ax, 0x2000
  out dx, ax
  mov dx, 0x4004         # VirtualBox
  mov ax, 0x3400
  out dx, ax
  cli
1: hlt
  jmp 1b

disk:
  mov ah, 0x42
  call second
  mov al, 6
  jc leave
  mov si, PART
  mov cx, 8
  call hex
  call newline
  mov dword ptr [PART], 0x746f7277
  mov ax, 0x4300
  call second
  mov al, 5
  jc leave
  xor al, al
  jmp leave
second:                  # AH: what is done with its first sector
  mov si, offset load_disk
  mov dl, [drive]
  inc dl
  int 0x13
  ret

flood:
  mov bx, LINES
1: mov ax, bx
  mov cx, 5              # five decimal digits
  mov di, offset number + 4
2: xor dx, dx
  mov si, 10
  div si
  add dl, '0'
  mov [di], dl
  dec di
  loop 2b
  mov si, offset number
  mov dx, COM1
  call say
  dec bx
  jnz 1b
  xor al, al
  jmp leave

hold:
  mov di, offset stop
1: sti
  hlt                    # the timer wakes it 18 times a second
2: mov dx, COM1
  call get
  jz 3f
  cmp al, 'a'
  jb 4f
  cmp al, 'z'
  ja 4f
  sub al, 32
4: call put1
  jmp 2b
3: mov dx, COM2
  call get
  jz 1b
  cmp al, [di]
  jne 5f
  inc di
  cmp al, 10
  jne 3b
  xor al, al
  jmp leave
5: mov di, offset stop
  jmp 3b

# ---- serial ports ----
port_init:               # DX: 115200 8n1, FIFOs on
  inc dx
  xor al, al
  out dx, al             # no interrupts
  inc dx
  inc dx
  mov al, 0x80
  out dx, al
  dec dx
  dec dx
  xor al, al
  out dx, al
  dec dx
  inc al
  out dx, al             # divisor 1
  add dx, 3
  mov al, 3
  out dx, al
  dec dx
  mov al, 7
  out dx, al
  add dx, 2
  mov al, 3
  out dx, al             # DTR, RTS
  ret

get:                     # DX: port; ZF set: nothing there, else AL
  add dx, 5
  in al, dx
  sub dx, 5
  test al, 1
  jz 1f
  in al, dx
  or dl, dl              # never zero
1: ret

put1:
  mov dx, COM1
put:                     # DX: port, AL: the byte
  push ax
  add dx, 5
1: in al, dx
  test al, 0x20
  jz 1b
  sub dx, 5
  pop ax
  out dx, al
  ret

drain:                   # DX: port; until the last byte has left
  add dx, 5
1: in al, dx
  test al, 0x40
  jz 1b
  ret

say2:
  mov dx, COM2
say:                     # DX: port, SI: text
  lodsb
  test al, al
  jz 1f
  call put
  jmp say
1: ret

newline:
  mov al, 10
  jmp put1

hex:                     # CX bytes at SI
  lodsb
  push ax
  shr al, 4
  call nibble
  pop ax
  and al, 15
  call nibble
  loop hex
  ret
nibble:
  add al, '0'
  cmp al, '9'
  jbe put1
  add al, 'a' - '0' - 10
  jmp put1

load_line: .byte 16, 0
  .word 63, 0, LINE_SEG
  .quad 1
load_disk: .byte 16, 0
  .word 1, PART, 0
  .quad 0
load_part: .byte 16, 0
  .word 3, PART, 0
load_part_lba: .quad 0
no_idt: .word 0, 0, 0
ready: .asciz "ready\n"
exit: .ascii "exit "
status: .asciz "0\n"
stop: .ascii "stop\n"
number: .asciz "00000 abcdefghijklmnopq\n"
  .org 512 + SECTORS * 512
