//! The lists that decide about frames: data, with a version. A change of an entry
//! changes signatures, so it takes a new version, and groups are recomputed.
//!
//! An entry is a whole name, or a pattern in which `*` stands for anything. An entry
//! whose name is not reserved ([`is_reserved`]) counts only where the frame's file is the
//! SDK's or not known: an application's own `main_task` is not the SDK's.

/// The version of the lists.
pub const VERSION: u32 = 1;

/// Whether `entry` names what no application may define: names that begin with `_`, and
/// those in a namespace or crate of the language's or the SDK's own.
pub fn is_reserved(entry: &str) -> bool {
    entry.starts_with('_') || entry.contains("::") || entry == "rust_begin_unwind"
}

/// Frames of the panic itself: they and all above them are cut away.
#[rustfmt::skip]
pub const THROW: &[&str] = &[
    // panic
    "panic_abort", "esp_system_abort", "abort", "invoke_abort", "panicHandler", "panic_handler",
    "xt_unhandled_exception", "esp_panic_handler", "panic_from_exception", "panic_from_isr",
    "_panic_handler", "_call_panic_handler", "frame_to_panic_info", "panic_restart",
    "panic_print_*", "print_state*", "esp_restart_noos*", "esp_core_dump_*",
    // asserts and checks
    "__assert_func", "__assert", "_esp_error_check_failed",
    "_esp_error_check_failed_without_abort", "esp_error_check_failed_print",
    "__stack_chk_fail", "__chk_fail", "vApplicationStackOverflowHook", "heap_caps_alloc_failed",
    "__ubsan_handle_*", "__ubsan_default_handler", "__ubsan_maybe_debugbreak", "kasan_report",
    "kasan_check", "__asan_load*", "__asan_store*",
    // watchdog
    "task_wdt_isr", "task_wdt_timeout_handling", "task_wdt_timeout_abort",
    "task_wdt_timeout_abort_xtensa", "esp_crosscore_isr", "esp_task_wdt_isr_user_handler",
    // exception vectors
    "_xt_user_exc", "_xt_panic", "_xt_coproc_exc", "_xt_context_save", "xt_unhandled_interrupt",
    "_UserExceptionVector", "_KernelExceptionVector", "_DoubleExceptionVector",
    "_WindowOverflow*", "_WindowUnderflow*", "LoadStoreErrorHandler", "AlignmentErrorHandler",
    // C++
    "std::terminate", "__cxxabiv1::*", "__cxa_throw", "__cxa_rethrow", "__cxa_pure_virtual",
    "__cxa_deleted_virtual", "__cxa_call_unexpected", "__cxa_bad_cast", "__wrap___cxa_*",
    "__wrap__Unwind_*", "__wrap___register_frame*", "abort_expect_void*", "abort_return",
    "forward_abort_uw_ctx", "std::__throw_*", "__cxa_guard_*",
    // Rust
    "core::panicking::*", "core::result::unwrap_failed", "core::option::unwrap_failed",
    "core::option::expect_failed", "rust_begin_unwind", "std::panicking::begin_panic*",
    "std::panicking::rust_panic*", "std::panicking::panic_handler*",
    "alloc::alloc::handle_alloc_error", "esp_backtrace::*",
];

/// Where an interrupt begins. Never cut: that would lose a guilty interrupt handler.
#[rustfmt::skip]
pub const INTERRUPT: &[&str] = &[
    "_xt_lowint1", "_xt_medint*", "_xt_highint*", "_xt_nmi", "_frxt_int_enter", "_frxt_int_exit",
    "rtos_int_enter", "rtos_int_exit", "_interrupt_handler", "_global_interrupt_handler",
];

/// Below the application in every stack. `app_main`, `setup` and `loop` are the
/// application.
#[rustfmt::skip]
pub const BASE: &[&str] = &[
    "vPortTaskWrapper", "main_task", "prvIdleTask", "esp_vApplicationIdleHook",
    "esp_vApplicationTickHook", "vApplicationIdleHook", "esp_cpu_wait_for_intr",
    "xt_utils_wait_for_intr", "timer_task", "prvTimerTask", "prvProcess*", "pthread_task_func",
    "ipc_task", "esp_event_loop_run_task", "tcpip_thread", "start_cpu0*",
    "start_cpu_other_cores*", "call_start_cpu*", "app_startup", "esp_startup_start_app*",
    "wifi_task", "ppTask", "btController*", "loopTask",
    // Rust
    "std::panicking::try*", "std::panicking::catch_unwind*", "std::rt::*",
    "std::sys::backtrace::__rust_begin_short_backtrace", "core::ops::function::FnOnce::call_once*",
];

/// Noise anywhere in a stack.
#[rustfmt::skip]
pub const SKIP: &[&str] = &[
    // locks and the port's glue
    "spinlock_acquire", "spinlock_release", "xPortEnterCriticalTimeout*", "vPortEnterCritical*",
    "vPortExitCritical*", "vTaskEnterCritical*", "vTaskExitCritical*", "vPortYield*",
    "vPortClearInterruptMask*", "xPortInIsrContext", "xPortInterruptedFromISRContext",
    "vPortAssertIfInISR", "lock_acquire_generic", "lock_release_generic", "_lock_*",
    "__retarget_lock_*", "esp_cpu_*", "esp_crosscore_int_*", "prv*", "vListInsert*",
    "uxListRemove",
    // C++
    "std::__invoke*", "std::_Function_handler*", "std::function*::operator()", "std::invoke*",
    // the same, where debug information has no whole name: templates over local lambdas
    "__invoke*", "_M_invoke", "_FUN", "*::_FUN",
];

/// What the application asked for; the outermost of a run is kept. Whatever else is in a
/// file of the SDK counts as this, too.
#[rustfmt::skip]
pub const PREFIX: &[&str] = &[
    // heap
    "malloc", "free", "calloc", "realloc", "cfree", "heap_caps_*", "multi_heap_*", "tlsf_*",
    "block_*", "verify_allocated_region", "verify_fill_pattern", "poison_allocated_region",
    "assert_valid_block", "aligned_or_unaligned_*", "trace_*", "operator new*",
    "operator delete*",
    // C library
    "mem*", "str*", "*printf*", "_*printf_r", "__ssputs_r", "__sfvwrite_r", "qsort",
    // FreeRTOS
    "xQueue*", "vQueue*", "uxQueue*", "xTask*", "vTask*", "ulTask*", "uxTask*", "xEventGroup*",
    "vEventGroup*", "xTimer*", "xStreamBuffer*", "xMessageBuffer*", "xRingbuffer*",
    "vRingbuffer*",
];

/// The heap's own functions and files: who crashes there is the victim.
#[rustfmt::skip]
pub const HEAP_FUNCTIONS: &[&str] = &[
    "multi_heap_*", "tlsf_*", "block_*", "verify_allocated_region", "verify_fill_pattern",
    "poison_allocated_region", "assert_valid_block",
];
pub const HEAP_FILES: &[&str] = &["multi_heap*", "tlsf*", "heap_tlsf*"];

/// IDF's components, where their place alone must tell whose code it is.
#[rustfmt::skip]
pub const IDF_COMPONENTS: &[&str] = &[
    "app_trace", "app_update", "asio", "bootloader", "bootloader_support", "bt", "cbor", "coap",
    "console", "cxx", "driver", "efuse", "esp-tls", "esp32", "esp32c2", "esp32c3", "esp32c6",
    "esp32h2", "esp32s2", "esp32s3", "esp_adc", "esp_adc_cal", "esp_app_format",
    "esp_blockdev", "esp_bootloader_format", "esp_coex", "esp_common", "esp_driver_*", "esp_eth",
    "esp_event", "esp_gdbstub", "esp_hal_*", "esp_hid", "esp_http_client", "esp_http_server",
    "esp_https_ota", "esp_https_server", "esp_hw_support", "esp_ipc", "esp_lcd", "esp_libc",
    "esp_local_ctrl", "esp_mm", "esp_netif", "esp_netif_stack", "esp_partition", "esp_phy",
    "esp_pm", "esp_psram", "esp_ringbuf", "esp_rom", "esp_security", "esp_serial_slave_link",
    "esp_stdio", "esp_system", "esp_tee", "esp_timer", "esp_trace", "esp_usb_cdc_rom_console",
    "esp_vfs_console", "esp_wifi", "espcoredump", "expat", "fatfs", "freemodbus", "freertos",
    "hal", "heap", "http_parser", "ieee802154", "jsmn", "json", "libsodium", "linux", "log",
    "lwip", "mbedtls", "mdns", "mqtt", "newlib", "nghttp", "nvs_flash", "nvs_sec_provider",
    "openssl", "openthread", "partition_table", "perfmon", "protobuf-c", "protocomm", "pthread",
    "riscv", "rt", "sdmmc", "soc", "spi_flash", "spiffs", "tcp_transport", "tcpip_adapter",
    "tinyusb", "touch_element", "ulp", "unity", "usb", "vfs", "wear_levelling",
    "wifi_provisioning", "wpa_supplicant", "xtensa",
];
