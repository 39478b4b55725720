// An application that crashes in many ways. What is MAYBE inlined is so in one of the
// builds and called in the other.
#define NOINLINE __attribute__((noinline))
#define STOP(name) __asm__ volatile(".globl stop_" #name "\nstop_" #name ": nop")
#define NOP __asm__ volatile("nop")
#ifdef INLINED
#define MAYBE __attribute__((always_inline))
#else
#define MAYBE __attribute__((noinline))
#endif

extern "C" {
[[noreturn]] void abort();
[[noreturn]] void _esp_error_check_failed(int code);
[[noreturn]] void __stack_chk_fail();
[[noreturn]] void __ubsan_handle_out_of_bounds(void *data, int index);
int xQueueGenericSend(volatile int *queue);
int xQueueSemaphoreTake(volatile int *queue);
void vTaskDelay(int ticks);
void *malloc(unsigned int size);
void *heap_caps_malloc(int size);
void free(void *it);
int cJSON_Print(const char **all);
}
volatile int state;

#line 10 "@TOOLCHAIN@/libstdc++-v3/libsupc++/eh_terminate.cc"
namespace __cxxabiv1 { [[noreturn]] NOINLINE void __terminate(void (*handler)()); }
namespace std { [[noreturn]] NOINLINE void terminate() { NOP; __cxxabiv1::__terminate(abort); } }
#line 20 "@TOOLCHAIN@/libstdc++-v3/libsupc++/eh_throw.cc"
extern "C" [[noreturn]] NOINLINE void __cxa_throw(void *, void *, void (*)(void *)) { NOP; std::terminate(); }
#line 30 "@TOOLCHAIN@/libstdc++-v3/src/c++11/functexcept.cc"
namespace std { [[noreturn]] NOINLINE void __throw_out_of_range(const char *) { NOP; __cxa_throw(0, 0, 0); } }

#line 10 "@APP@/main/crash.cpp"
[[noreturn]] NOINLINE void on_terminate() { NOP; abort(); }
#line 40 "@TOOLCHAIN@/libstdc++-v3/libsupc++/eh_terminate.cc"
void __cxxabiv1::__terminate(void (*)()) { NOP; on_terminate(); }

#line 10 "@APP@/components/config/config.cpp"
MAYBE static inline int config_parse(int key) { if (key == state) { abort(); } return state; }
extern "C" NOINLINE int config_load(int key) { int it = config_parse(key); NOP; return it; }

#line 10 "@APP@/main/sensor.c"
extern "C" NOINLINE int bus_lock(int bus) { int it = xQueueSemaphoreTake((int *)bus); NOP; return it; }
extern "C" NOINLINE int sensor_read(int bus) { int it = bus_lock(bus); NOP; return it; }

#line 10 "@APP@/main/ring.c"
extern "C" NOINLINE int ring_put(volatile int *ring) { STOP(ring_put); return *ring; }
extern "C" NOINLINE int button_isr(int pin) { int it = ring_put((int *)pin); NOP; return it; }

#line 10 "@APP@/main/tree.c"
extern "C" NOINLINE void tree_free(int **tree) {
    STOP(tree_free);
    if (tree[0]) { tree_free((int **)tree[0]); }
    NOP;
}
#line 10 "@APP@/main/events.c"
extern "C" NOINLINE void event_dispatch(void (*handler)()) { handler(); STOP(event_dispatch); }

#line 10 "@APP@/main/registry.hpp"
struct Device { int key; };
template <class T, int N> struct Registry {
    T all[N];
    NOINLINE T *find(int key) { if (key > N) { std::__throw_out_of_range("find"); } return &all[key]; }
};
#line 10 "@APP@/main/server.cpp"
static Registry<Device, 16> registry;
struct Request { int key; };
struct Server {
    NOINLINE int handle(const Request &request) { int it = registry.find(request.key)->key; NOP; return it; }
};
template <class F> static NOINLINE int each(F f) { int it = f(Request{state}); NOP; return it; }
extern "C" NOINLINE int server_task(Server *server) {
    int it = each([=](const Request &request) MAYBE { int it = server->handle(request); NOP; return it; });
    NOP;
    return it;
}

#line 10 "@APP@/main/main.c"
extern "C" NOINLINE void wifi_start() { if (state) _esp_error_check_failed(state); NOP; }
extern "C" NOINLINE void copy_name() { if (state) __stack_chk_fail(); NOP; }
extern "C" NOINLINE void palette_set(int index) { if (index > state) __ubsan_handle_out_of_bounds(0, index); NOP; }
extern "C" NOINLINE void message_done(void *message) { free(message); NOP; }
extern "C" NOINLINE void *message_new() { void *it = malloc(16); NOP; return it; }
extern "C" NOINLINE void *frame_buffer_new() { void *it = heap_caps_malloc(4096); NOP; return it; }
extern "C" NOINLINE void spin_until_ready() { while (state) { STOP(spin_until_ready); } }
extern "C" NOINLINE void lcd_flush() { spin_until_ready(); NOP; }
extern "C" NOINLINE int log_push() { int it = xQueueGenericSend(&state); NOP; return it; }
extern "C" NOINLINE int report_all() { int it = cJSON_Print((const char **)state); NOP; return it; }
extern "C" void app_main() {
    state = config_load(state);
    state = sensor_read(state);
    wifi_start();
    copy_name();
    palette_set(state);
    message_done(message_new());
    state = *(int *)frame_buffer_new();
    lcd_flush();
    state = log_push() + report_all();
    tree_free((int **)state);
    event_dispatch(0);
    state = server_task((Server *)state);
    vTaskDelay(state);
    NOP;
}
extern "C" void vPortTaskWrapper(void (*code)(void *), void *argument);
extern "C" int @VECTOR@(int pins);
extern "C" void vApplicationStackOverflowHook(void *task, char *name);
extern "C" void start() {
    vPortTaskWrapper(0, 0);
    state = @VECTOR@(state);
    vApplicationStackOverflowHook(0, 0);
}
