#include "tiny-vmm/guest_program.h"

#include "tiny-vmm/long_mode.h"

extern "C" const std::byte ferry_guest_begin[], ferry_guest_end[];

asm(R"(
        .intel_syntax noprefix
        .pushsection .rodata
        .globl  ferry_guest_begin, ferry_guest_end
ferry_guest_begin:
        movq    xmm0, r9
.Lbatch:
        mov     rcx, r10
        test    rcx, rcx
        jz      .Lbeat
.Lpage:
        movq    rbx, xmm0               # the pass, as the FPU has it
        cmp     rbx, r9
        jne     .Lwrong
        lea     rax, [r9 - 1]           # what the pass before left here
        cmp     [rdi], rax
        jne     .Lwrong
        imul    rax, rdi
        cmp     [rdi + 4088], rax
        jne     .Lwrong
.Lwrite:
        mov     [rdi], r9
        mov     rax, r9
        imul    rax, rdi
        mov     [rdi + 4088], rax
        add     rdi, 4096
        cmp     rdi, r8
        jb      .Lsame_pass
        mov     rdi, rsi
        inc     r9
        movq    xmm0, r9
.Lsame_pass:
        dec     rcx
        jnz     .Lpage
.Lbeat:
        inc     r12
        mov     rax, r11
        out     dx, eax
        cmp     [r13], r12              # what the VMM wrote meanwhile
        je      .Lbatch
        inc     r11
        jmp     .Lbatch
.Lwrong:
        inc     r11
        jmp     .Lwrite
ferry_guest_end:
        .popsection
        .att_syntax prefix
)");

namespace example {

std::span<const std::byte> guest_program() { return {ferry_guest_begin, ferry_guest_end}; }

kvm_regs registers_for(const Walk& walk, std::uint64_t pages_a_beat, unsigned vcpu) {
  kvm_regs registers{};
  registers.rip = k_code;
  registers.rflags = k_user_flags;
  registers.rdi = walk.next;
  registers.rsi = walk.slice.begin;
  registers.r8 = walk.slice.end;
  registers.r9 = walk.pass;
  registers.r10 = pages_a_beat;
  registers.r13 = k_mailboxes + vcpu * ferry::k_unit_bytes;
  registers.rdx = k_heartbeat_port;
  return registers;
}

Walk walk_in(const kvm_regs& registers) {
  return {{registers.rsi, registers.r8}, registers.rdi, registers.r9};
}

}  // namespace example
