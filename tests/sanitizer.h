// Which sanitizer a test runs under, for one that does less of the same there.
#pragma once

namespace ferry::test {

// clang says it by a feature, GCC by a macro.
#ifdef __has_feature
inline constexpr bool k_under_address_sanitizer = __has_feature(address_sanitizer);
inline constexpr bool k_under_thread_sanitizer = __has_feature(thread_sanitizer);
#else
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool k_under_address_sanitizer = true;
#else
inline constexpr bool k_under_address_sanitizer = false;
#endif
#ifdef __SANITIZE_THREAD__
inline constexpr bool k_under_thread_sanitizer = true;
#else
inline constexpr bool k_under_thread_sanitizer = false;
#endif
#endif

}  // namespace ferry::test
