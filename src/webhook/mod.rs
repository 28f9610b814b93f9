//! A job, from the answer `queued` until its receiver has taken the result.
