// migrate-send: memory images to another host.
#include <fmt/format.h>

#include <memory>
#include <stop_token>

#include "console/command.h"
#include "console/console.h"
#include "console/process.h"
#include "console/tls_options.h"
#include "ferry/ferry.h"
#include "image/image_source.h"
#include "options.h"

namespace ferry {
namespace {

constexpr const char* k_name = "migrate-send";

/// As many as were asked for, or as are good; one where a transport has only one.
Result<unsigned> channels_over(const Transport& transport, const SendCommand& command) {
  if (transport.lines() == Lines::many) return command.channels.value_or(default_channels());
  if (command.channels.value_or(1) == 1) return 1;
  return fail(
      Errc::usage,
      fmt::format("--channels {}: {}: has one channel only", *command.channels, transport.scheme()),
      "leave --channels out");
}

Result<Outcome> send_images(const SendCommand& command, Console& console, Log& log) {
  RuntimeOptions choices = command.common.runtime;
  choices.tls = command.tls;
  choices.websocket_headers = command.websocket_headers;
  choices.file = command.file;
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(make_runtime(choices));
  log.debug("the loop waits by {}", to_string(runtime->loop().poller_kind()));
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  const Transport& transport = *FERRY_TRY(runtime->transport(command.to.scheme));
  const unsigned channels = FERRY_TRY(channels_over(transport, command));
  const std::unique_ptr<ImageSource> images = FERRY_TRY(ImageSource::open(
      command.images, command.zero_copy == ZeroCopy::on ? ImageSource::Access::mapped
                                                        : ImageSource::Access::descriptor));
  log.info("{} images, {} bytes, to {} over {} channels", command.images.size(),
           images->memory().total_bytes(), command.to.shown(), channels);

  SendOptions options;
  options.channels = channels;
  options.verify = command.verify;
  options.zero_copy = command.zero_copy;
  BandwidthLimit bandwidth(command.max_bandwidth);
  if (command.max_bandwidth > 0) options.bandwidth = &bandwidth;
  options.timeout = command.common.timeout;
  options.ready_timeout = {};  // nobody stands still while a slow disk syncs what was received
  options.observer.connected = [&](const ChannelInfo& info) {
    const std::string text = not_encrypted_text(info);
    if (!text.empty()) console.warning(text);
  };
  options.observer.progress = [&](const Progress& progress) { console.progress(progress); };
  options.observer.warning = [&](const Warning& warning) { console.warning(warning.text); };
  Outcome outcome = send(*runtime, *images, command.to.text(), options, stop.get_token());
  outcome.report.downtime = {};  // an image never ran
  return outcome;
}

ExitCode run(Arguments arguments) {
  const Result<SendCommand> command = parse_send_command(arguments);
  if (!command) return run_command(k_name, arguments, std::unexpected(command.error()));
  const auto work = [&](Console& console, Log& log) -> Result<ExitCode> {
    return console.finished(FERRY_TRY(send_images(*command, console, log)));
  };
  return run_command(k_name, arguments, Invocation{command->common, work});
}

}  // namespace
}  // namespace ferry

int main(int argc, char** argv) {
  return ferry::command_main(argc, argv, ferry::k_name, ferry::run);
}
