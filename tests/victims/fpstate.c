// test: x87, SSE, AVX, AVX-512, mask and general registers survive, blocked in a call and in the middle of a loop.
#include "victim.h"
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/ucontext.h>

struct vectors {
	uint8_t zmm[32][64];
	uint64_t k[8];
	uint8_t x87[8][16];
	uint32_t mxcsr;
	uint16_t x87cw;
} __attribute__((aligned(64)));

static struct vectors in, out;
static struct timespec pause_time = {0, 4000000};
static volatile long spin;
static int level; // 0 SSE, 1 AVX, 2 AVX-512

#define ALL16 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define HIGH16 "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define EACH(list, insn) ".irp i," list "\n" insn "\n.endr\n"

// The middle is either a blocking call or a loop in user space. Neither may
// change a register that the ABI of the system call keeps.
#define BLOCKING "mov $35,%%eax\n lea %[ts],%%rdi\n xor %%esi,%%esi\n syscall\n mov %%rax,%[res]\n"
#define LOOPING "1: pause\n decq %[spin]\n jnz 1b\n movq $0,%[res]\n"

#define X87_IN "fninit\n" EACH("7,6,5,4,3,2,1,0", "fldt \\i*16(%[xi])") "fldcw %[cwi]\n ldmxcsr %[mxi]\n"
#define X87_OUT "fnstcw %[cwo]\n stmxcsr %[mxo]\n" EACH("0,1,2,3,4,5,6,7", "fstpt \\i*16(%[xo])")

#define RUN(load, middle, store)                                                                      \
	asm volatile(X87_IN load middle store X87_OUT                                                 \
		     : [res] "=m"(result), [spin] "+m"(spin), [mxo] "=m"(out.mxcsr), [cwo] "=m"(out.x87cw) \
		     : [vi] "r"(in.zmm), [vo] "r"(out.zmm), [ki] "r"(in.k), [ko] "r"(out.k),            \
		       [xi] "r"(in.x87), [xo] "r"(out.x87), [ts] "m"(pause_time), [mxi] "m"(in.mxcsr), \
		       [cwi] "m"(in.x87cw)                                                             \
		     : "rax", "rcx", "rdi", "rsi", "r11", "memory", "cc", "st", "st(1)", "st(2)",     \
		       "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3",   \
		       "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",     \
		       "xmm13", "xmm14", "xmm15")

#define SSE_IN EACH(ALL16, "movdqu \\i*64(%[vi]),%%xmm\\i")
#define SSE_OUT EACH(ALL16, "movdqu %%xmm\\i,\\i*64(%[vo])")
#define AVX_IN EACH(ALL16, "vmovdqu \\i*64(%[vi]),%%ymm\\i")
#define AVX_OUT EACH(ALL16, "vmovdqu %%ymm\\i,\\i*64(%[vo])")
#define ZMM_IN                                                                              \
	EACH(ALL16, "vmovdqu64 \\i*64(%[vi]),%%zmm\\i") EACH(HIGH16, "vmovdqu64 \\i*64(%[vi]),%%zmm\\i") \
	EACH("0,1,2,3,4,5,6,7", "kmovq \\i*8(%[ki]),%%k\\i")
#define ZMM_OUT                                                                              \
	EACH(ALL16, "vmovdqu64 %%zmm\\i,\\i*64(%[vo])") EACH(HIGH16, "vmovdqu64 %%zmm\\i,\\i*64(%[vo])") \
	EACH("0,1,2,3,4,5,6,7", "kmovq %%k\\i,\\i*8(%[ko])")

static long run_vectors(int blocking)
{
	long result = -1;
	switch (level * 2 + blocking) {
	case 0: RUN(SSE_IN, LOOPING, SSE_OUT); break;
	case 1: RUN(SSE_IN, BLOCKING, SSE_OUT); break;
	case 2: RUN(AVX_IN, LOOPING, AVX_OUT); break;
	case 3: RUN(AVX_IN, BLOCKING, AVX_OUT); break;
	case 4: RUN(ZMM_IN, LOOPING, ZMM_OUT); break;
	case 5: RUN(ZMM_IN, BLOCKING, ZMM_OUT); break;
	}
	asm volatile("fninit" ::: "st");
	uint32_t plain = 0x1f80;
	asm volatile("ldmxcsr %0" ::"m"(plain));
	return result;
}

static void fill_vectors(void)
{
	fill(in.zmm, sizeof in.zmm, victim_step);
	fill(in.k, sizeof in.k, victim_step + 1000);
	for (int i = 0; i < 8; i++) {
		long double v = 1.0L / (3 + i + victim_step);
		memcpy(in.x87[i], &v, 10);
	}
	in.mxcsr = 0x1f80 | 0x6000 | 0x20; // round to zero, precision flag set
	in.x87cw = 0x0e7f;		   // round up-to-zero, 53 bits, all masked
	memset(&out, 0xaa, sizeof out);
}

static void check_vectors(void)
{
	int n = level == 2 ? 32 : 16, size = 16 << level;
	for (int i = 0; i < n; i++)
		if (memcmp(in.zmm[i], out.zmm[i], size) != 0)
			FAIL("vector register %d (%d bytes) differs", i, size);
	for (int i = 0; level == 2 && i < 8; i++)
		if (in.k[i] != out.k[i])
			FAIL("mask register k%d is %llx, want %llx", i, (long long)out.k[i], (long long)in.k[i]);
	for (int i = 0; i < 8; i++)
		if (memcmp(in.x87[i], out.x87[i], 10) != 0)
			FAIL("x87 register st(%d) differs", i);
	CHECK_EQ(out.mxcsr, in.mxcsr);
	CHECK_EQ(out.x87cw, in.x87cw);
}

// run_general spins with a known value in every general register and with the
// direction flag set; it returns a bit mask of the registers that differ.
static long run_general(void)
{
	long bad = 0;
	asm volatile(
		"push %%rbp\n push %%rbx\n"
		".irp r,rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15\n"
		" movabs $0x5a5a1234deadbeef,%%\\r\n .endr\n"
		"lea 0x77(%%r15),%%r15\n std\n"
		"1: pause\n decq spin(%%rip)\n jnz 1b\n"
		"pushfq\n subq $0x77,%%r15\n"
		".irp r,rax,rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14\n"
		" cmp %%r15,%%\\r\n jne 2f\n .endr\n"
		"movabs $0x5a5a1234deadbeef,%%rax\n cmp %%rax,%%r15\n jne 2f\n"
		"testq $0x400,(%%rsp)\n jz 2f\n"
		"xor %%eax,%%eax\n jmp 3f\n 2: mov $1,%%eax\n 3: cld\n"
		"lea 8(%%rsp),%%rsp\n pop %%rbx\n pop %%rbp\n"
		: "=a"(bad)
		:
		: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return bad;
}

// damage is a handler that changes the interrupted registers, as a restore
// that loses state would.
static void damage(int sig, siginfo_t *info, void *ctx)
{
	(void)sig, (void)info;
	ucontext_t *uc = ctx;
	uint8_t *xsave = (void *)uc->uc_mcontext.fpregs;
	unsigned a, b, c, d;
	switch (victim_tamper) {
	case 1: uc->uc_mcontext.fpregs->_xmm[3].element[1] ^= 4; break;
	case 2: uc->uc_mcontext.fpregs->_st[2].significand[0] ^= 1; break;
	case 3: uc->uc_mcontext.gregs[REG_R12] ^= 1; break;
	case 4: uc->uc_mcontext.fpregs->mxcsr ^= 0x2000; break;
	case 5: // the upper half of ymm5, or of xmm5 where there is no AVX
		if (level == 0 || !__get_cpuid_count(13, 2, &a, &b, &c, &d))
			uc->uc_mcontext.fpregs->_xmm[5].element[3] ^= 1;
		else
			xsave[b + 5 * 16] ^= 1;
		break;
	case 6: // zmm31, or xmm15
		if (level < 2 || !__get_cpuid_count(13, 7, &a, &b, &c, &d))
			uc->uc_mcontext.fpregs->_xmm[15].element[3] ^= 1;
		else
			xsave[b + 15 * 64] ^= 1;
		break;
	}
}

static void arm_damage(void)
{
	struct sigaction sa = {.sa_sigaction = damage, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval it = {{0, 0}, {0, 1000}};
	setitimer(ITIMER_REAL, &it, NULL);
}

int main(int argc, char **argv)
{
	victim_init(argc, argv, 6);
	__builtin_cpu_init();
	level = __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx") ? 1 : 0;
	static long gs_area;
	CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, &gs_area) == 0);
	ready();
	while (step()) {
		int hit = victim_tamper && victim_step >= 3;
		fill_vectors();
		if (hit && victim_tamper != 3)
			arm_damage();
		spin = hit ? 20000000 : 60000;
		CHECK_EQ(run_vectors(!hit && victim_step % 2), 0);
		check_vectors();
		if (hit)
			arm_damage();
		spin = hit ? 20000000 : 60000;
		if (run_general())
			FAIL("a general register or the direction flag differs");
		gs_area = victim_step;
		long seen;
		asm volatile("mov %%gs:0,%0" : "=r"(seen));
		CHECK_EQ(seen, victim_step);
	}
	return pass();
}
