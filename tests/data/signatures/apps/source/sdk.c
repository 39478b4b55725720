/* Functions of ESP-IDF's and of the C library that the application crashes in. Each
 * does no more than call what the real one calls. build.sh puts folders in place of the
 * names in at signs. */
#define NOINLINE __attribute__((noinline))
#define NORETURN __attribute__((noinline, noreturn))
#define INLINE static inline __attribute__((always_inline))
/* where an instruction is that a crash can be at */
#define STOP(name) __asm__ volatile(".globl stop_" #name "\nstop_" #name ": nop")
#define NOP __asm__ volatile("nop")

void main_task(void *argument);
void app_main(void);
int button_isr(int pin);

#line 100 "@IDF@/components/esp_system/panic.c"
NORETURN void panic_abort(const char *details) {
    STOP(panic_abort);
    for (;;) { *(volatile const char **)0 = details; }
}
#line 90 "@IDF@/components/esp_system/port/esp_system_chip.c"
NORETURN void esp_system_abort(const char *details) { NOP; panic_abort(details); }
#line 30 "@IDF@/components/newlib/abort.c"
NORETURN void abort(void) { NOP; esp_system_abort("abort() was called"); }
#line 80 "@IDF@/components/newlib/assert.c"
NORETURN void __assert_func(const char *file, int line, const char *function, const char *what) {
    NOP; esp_system_abort(what ? what : function ? function : file + line);
}
#line 40 "@IDF@/components/esp_system/esp_err.c"
NORETURN void _esp_error_check_failed(int code) { if (code) NOP; abort(); }
#line 50 "@IDF@/components/esp_system/stack_check.c"
NORETURN void __stack_chk_fail(void) { NOP; esp_system_abort("Stack smashing protect failure!"); }
#line 60 "@IDF@/components/esp_system/ubsan.c"
static NORETURN void __ubsan_default_handler(const char *what) { NOP; esp_system_abort(what); }
NORETURN void __ubsan_handle_out_of_bounds(void *data, int index) { if (index) NOP; __ubsan_default_handler(data); }
#line 70 "@IDF@/components/freertos/FreeRTOS-Kernel/portable/port.c"
NORETURN void vApplicationStackOverflowHook(void *task, char *name) { if (task) NOP; esp_system_abort(name); }
INLINE void spinlock_acquire(volatile int *lock) { while (*lock) { STOP(spinlock_acquire); } }
NOINLINE void vPortEnterCritical(volatile int *lock) { spinlock_acquire(lock); NOP; }
NOINLINE void vPortYield(void) { STOP(vPortYield); }
void vPortTaskWrapper(void (*code)(void *), void *argument) { main_task(argument); code(argument); }
#line 200 "@IDF@/components/freertos/FreeRTOS-Kernel/queue.c"
NOINLINE int xQueueGenericSend(volatile int *queue) { vPortEnterCritical(queue); return *queue; }
NOINLINE int xQueueSemaphoreTake(volatile int *queue) {
    if (!queue) { __assert_func("queue.c", 1713, "xQueueSemaphoreTake", "( pxQueue )"); }
    vPortYield();
    return *queue;
}
#line 300 "@IDF@/components/freertos/FreeRTOS-Kernel/tasks.c"
NOINLINE void vTaskDelay(int ticks) { if (ticks) vPortYield(); NOP; }
#line 10 "@IDF@/components/freertos/app_startup.c"
NOINLINE void main_task(void *argument) { if (argument) NOP; app_main(); NOP; }
#line 400 "@IDF@/components/heap/tlsf/tlsf_block_functions.h"
INLINE void block_set_free(volatile int *block) { STOP(block_set_free); *block |= 1; }
#line 420 "@IDF@/components/heap/tlsf/tlsf.c"
NOINLINE void *tlsf_malloc(volatile int *pool) { block_set_free(pool); NOP; return (void *)pool; }
#line 440 "@IDF@/components/heap/multi_heap.c"
NOINLINE void *multi_heap_malloc(int size) { void *it = tlsf_malloc((int *)size); NOP; return it; }
NOINLINE void multi_heap_free(int *head) {
    if (!head) { __assert_func("multi_heap.c", 279, "multi_heap_free", "head != NULL"); }
    NOP;
}
#line 460 "@IDF@/components/heap/heap_caps.c"
static NORETURN void heap_caps_alloc_failed(int size) { if (size) NOP; esp_system_abort("Mem alloc fail"); }
NOINLINE void *heap_caps_malloc(int size) {
    void *it = multi_heap_malloc(size);
    if (!it) { heap_caps_alloc_failed(size); }
    return it;
}
NOINLINE void heap_caps_free(int *it) { multi_heap_free(it); NOP; }
#line 480 "@IDF@/components/newlib/heap.c"
NOINLINE void *malloc(unsigned int size) { void *it = heap_caps_malloc(size); NOP; return it; }
NOINLINE void free(void *it) { heap_caps_free(it); NOP; }
#line 500 "@IDF@/components/esp_driver_gpio/src/gpio.c"
static NOINLINE int gpio_isr_loop(int pins) { int it = button_isr(pins); NOP; return it; }
NOINLINE int gpio_intr_service(int pins) { int it = gpio_isr_loop(pins); NOP; return it; }
#line 520 "@IDF@/components/@VECTOR_FILE@"
int @VECTOR@(int pins) { int it = gpio_intr_service(pins); NOP; return it; }
#line 540 "@TOOLCHAIN@/newlib/libc/string/strlen.c"
NOINLINE unsigned int strlen(const char *text) {
    const char *end = text;
    do { STOP(strlen); } while (*end++);
    return end - text;
}
#line 560 "@IDF@/components/json/cJSON/cJSON.c"
static NOINLINE int print_value(const char *text) { int it = strlen(text); NOP; return it; }
static NOINLINE int print_object(const char **all) { int it = print_value(*all); NOP; return it; }
NOINLINE int cJSON_Print(const char **all) { int it = print_object(all); NOP; return it; }
