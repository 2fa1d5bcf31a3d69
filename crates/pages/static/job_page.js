// The page of a job that has not ended: shown anew when its state changes.

import { one } from "./dom.js";
import { follow } from "./job.js";

let first = null;

follow(one("[data-follow-job]").dataset.followJob, {
  // A stream tells its whole story each time it is opened; only what is told after the page was made is news.
  restart() { first = null; },
  status(frame) {
    first ??= frame.status;
    if (frame.status !== first) location.reload();
  },
  done() { location.reload(); },
});
