#include "multifd/state_window.h"

namespace ferry {

bool StateWindow::enter() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return inside_ < k_most_pieces || closed_; });
  if (closed_) return false;
  ++inside_;
  return true;
}

void StateWindow::leave() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    --inside_;
    ++left_;
  }
  changed_.notify_one();
}

void StateWindow::close() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::uint64_t StateWindow::left() const {
  const std::scoped_lock lock(mutex_);
  return left_;
}

}  // namespace ferry
