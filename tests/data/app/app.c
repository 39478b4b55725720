// The application of the decoder's tests: crashes in a callback from the ROM.

enum mode { STANDBY, PUMPING = 7 };

struct config {
    int speed;
    const char *name;
};

typedef unsigned int ticks_t;

extern int rom_visit(void (*callback)(int), int argument);
void app_main(void);

volatile int sink;
const char owner[] = "technician";

__attribute__((noinline, noreturn)) void crash(const char *details, char code, enum mode mode,
                                               _Bool wet, const char *wifi_password, ticks_t ticks,
                                               void (*then)(void), const struct config *config)
{
    sink = code + mode + wet + ticks + config->speed;
    sink = details[0] + wifi_password[0];
    then();
    for (;;)
        __asm__ volatile("unimp");
}

static inline __attribute__((always_inline)) void check(int level)
{
    struct config config = {level, "north"};
    short depth = -2;
    __asm__ volatile("" : : "r"(&config), "r"(depth) : "memory");
    crash("the pump ran dry", 'x', PUMPING, 1, "correct horse", 100000, app_main, &config);
}

__attribute__((noinline)) void visit(int level)
{
    char label[8] = "well-3";
    __asm__ volatile("" : : "r"(label) : "memory");
    check(level + 1);
}

__attribute__((noinline)) void app_main(void)
{
    rom_visit(visit, 41);
    sink = 1;
}
