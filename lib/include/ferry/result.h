// Failure as a value: every call of Ferry that can fail returns Result<T>, and nothing throws.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace [[gnu::visibility("default")]] ferry {

/// What went wrong, for programs. The commands map each one to an exit code.
enum class Errc {
  cancelled,       ///< somebody on this side asked for the end
  timed_out,       ///< a deadline passed, or the peer was silent for too long
  disconnected,    ///< the line was cut, or the peer failed
  refused,         ///< the peer, or we, would not have it: wrong session, wrong key, hostile name
  protocol,        ///< the peer said what the protocol does not allow
  integrity,       ///< a checksum or a digest differs
  auth,            ///< the peer could not prove who it is
  unsupported,     ///< a feature, transport or version that this build or the peer does not have
  unreachable,     ///< resolve, connect or listen failed
  usage,           ///< the caller asked for what makes no sense
  system,          ///< a call to the operating system failed: files, memory, threads
  guest,           ///< the VMM's own callback failed
  not_converging,  ///< a running guest writes faster than the line carries
};

/// The word for a code, as logs and JSON events use it: "timed_out".
std::string_view to_string(Errc code) noexcept;

/// One failure. `context` names the act and the thing ("connect tcp://node7:4446"), `sys` is an
/// errno or 0, `remedy` says what a person may do and may be empty.
struct [[nodiscard]] Error {
  Errc code = Errc::system;
  int sys = 0;
  std::string context;
  std::string remedy;

  /// One line for people: "connect tcp://node7:4446: connection refused (is it listening there?)".
  std::string text() const;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// An Error on its way out of a function: `return fail(Errc::protocol, "decode hello: bad magic")`.
inline std::unexpected<Error> fail(Errc code, std::string context, std::string remedy = {}) {
  return std::unexpected(Error{code, 0, std::move(context), std::move(remedy)});
}

/// The same for a failed call to the operating system; `sys` is its errno.
inline std::unexpected<Error> fail_sys(Errc code, int sys, std::string context,
                                       std::string remedy = {}) {
  return std::unexpected(Error{code, sys, std::move(context), std::move(remedy)});
}

}  // namespace ferry

/// The value of a Result, or return its Error from the enclosing function. May be nested.
/// (In a coroutine write `co_await result` instead.)
#define FERRY_TRY(...) FERRY_TRY_AS_(FERRY_TRY_JOIN_(ferry_try_, __COUNTER__), __VA_ARGS__)
#define FERRY_TRY_AS_(result, ...) FERRY_TRY_NAMED_(result, __VA_ARGS__)
#define FERRY_TRY_NAMED_(result, ...)                               \
  __extension__({                                                   \
    auto result = (__VA_ARGS__);                                    \
    if (!result) return std::unexpected(std::move(result).error()); \
    *std::move(result);                                             \
  })
#define FERRY_TRY_JOIN_(a, b) FERRY_TRY_JOIN2_(a, b)
#define FERRY_TRY_JOIN2_(a, b) a##b
