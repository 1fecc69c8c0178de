// Of many threads that fail together, the one that failed first says why.
#pragma once

#include <mutex>
#include <optional>
#include <utility>

#include "ferry/result.h"

namespace ferry {

/// Keeps the first Error. Thread-safe.
class FirstError {
 public:
  /// True for the call that was first: its caller now stops the others.
  bool set(Error error) {
    const std::scoped_lock lock(mutex_);
    if (error_) return false;
    error_ = std::move(error);
    return true;
  }

  /// Puts a better reason in the place of one that is only its consequence.
  void replace(Error error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error);
  }

  std::optional<Error> get() const {
    const std::scoped_lock lock(mutex_);
    return error_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace ferry
