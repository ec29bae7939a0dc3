/** Page of x86-64, in `bytes` (arch/x86/include/asm/page_types.h). */
export const PAGE_BYTES = 4096;

/** Huge page of x86-64 of the usual size, in `bytes` (PMD_SIZE). */
export const HUGE_PAGE_BYTES = 2 * 2 ** 20;
