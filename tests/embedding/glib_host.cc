#include <glib-unix.h>
#include <glib.h>

#include <list>
#include <utility>

#include "tests/embedding/host.h"

namespace ferry::test {
namespace {

class GlibHost final : public Host {
 public:
  GlibHost() : context_(g_main_context_new()) {}
  ~GlibHost() override { g_main_context_unref(context_); }
  GlibHost(const GlibHost&) = delete;
  GlibHost& operator=(const GlibHost&) = delete;

  void watch(int fd, std::function<void()> call) override {
    calls_.push_back(std::move(call));
    GSource* const source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(&GlibHost::on_readable), &calls_.back(), nullptr);
    g_source_attach(source, context_);
    g_source_unref(source);
  }

  void run_until(const std::function<bool()>& over) override {
    while (!over()) g_main_context_iteration(context_, TRUE);
  }

 private:
  static gboolean on_readable(gint, GIOCondition, gpointer call) {
    (*static_cast<std::function<void()>*>(call))();
    return G_SOURCE_CONTINUE;
  }

  GMainContext* context_;
  std::list<std::function<void()>> calls_;  // GLib knows their addresses
};

}  // namespace

std::unique_ptr<Host> make_glib_host() { return std::make_unique<GlibHost>(); }

}  // namespace ferry::test
