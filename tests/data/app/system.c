// Stand-ins for the parts of FreeRTOS that the decoder looks at.

struct xLIST;

typedef struct {
    unsigned xItemValue;
    void *pxNext;
    void *pxPrevious;
    void *pvOwner;
    struct xLIST *pxContainer;
} ListItem_t;

typedef struct xLIST {
    unsigned uxNumberOfItems;
    ListItem_t *pxIndex;
    unsigned xListEnd[3];
} List_t;

typedef struct tskTaskControlBlock {
    volatile unsigned *pxTopOfStack;
    ListItem_t xStateListItem;
    ListItem_t xEventListItem;
    unsigned uxPriority;
    unsigned *pxStack;
    char pcTaskName[16];
    int xCoreID;
    unsigned *pxEndOfStack;
    unsigned uxBasePriority;
    unsigned char ucNotifyState[1];
} tskTCB;

tskTCB *pxCurrentTCBs[2];
List_t pxReadyTasksLists[25];
List_t xDelayedTaskList1, xSuspendedTaskList;

__attribute__((noinline)) void vTaskSwitchContext(void)
{
    pxCurrentTCBs[0] = pxCurrentTCBs[1];
}

__attribute__((noinline)) static void main_task(void *args)
{
    extern void app_main(void);
    app_main();
    vTaskSwitchContext();
}

__attribute__((noinline)) void vPortTaskWrapper(void (*pxCode)(void *), void *pvParameters)
{
    __asm__ volatile(".cfi_undefined ra");
    pxCode(pvParameters);
    for (;;)
        vTaskSwitchContext();
}

__attribute__((used)) void start(void)
{
    vPortTaskWrapper(main_task, 0);
}

const struct {
    unsigned magic_word, secure_version, reserv1[2];
    char version[32], project_name[32], time[16], date[16], idf_ver[32];
    unsigned char app_elf_sha256[32];
} esp_app_desc __attribute__((section(".flash.appdesc"))) = {
    .magic_word = 0xABCD5432,
    .version = "1.2.3",
    .project_name = "pump",
    .idf_ver = "v5.2",
};
