// A small client of cStar's Analytics API: fetch, errors with a code, and retries that a server can steer.

const RETRIED = new Set([429, 500, 502, 503, 504]);

/** The API answered with an error. */
export class ApiError extends Error {
  constructor(status, code, message, requestId) {
    super(`${status} ${code}: ${message} (${requestId})`);
    this.name = "ApiError";
    Object.assign(this, { status, code, requestId });
  }
}

/** No whole answer came, however often it was asked for; `cause` is fetch's own error. */
export class ConnectionFailed extends Error {
  constructor(cause) {
    super(`no answer: ${cause.cause?.code ?? cause.message}`, { cause });
    this.name = "ConnectionFailed";
  }
}

export class CStarClient {
  /**
   * `retries` is how often a failed call is repeated; `timeout`, `longestWait` and `firstWait` are milliseconds.
   * `Retry-After` is honoured up to `longestWait`: beyond it the call fails at once.
   */
  constructor({ baseUrl, teamId, apiKey, retries = 3, timeout = 10_000, longestWait = 30_000, firstWait = 200, sleep }) {
    this.url = `${baseUrl}/api/v1/teams/${teamId}/analytics`;
    this.headers = { Authorization: `Bearer ${apiKey}`, Accept: "application/json" };
    this.sleep = sleep ?? ((milliseconds) => new Promise((done) => setTimeout(done, milliseconds)));
    Object.assign(this, { retries, timeout, longestWait, firstWait });
  }

  overview(period) {
    return this.#get(`/overview${period === undefined ? "" : `?period=${encodeURIComponent(period)}`}`);
  }

  agents() {
    return this.#get("/agents");
  }

  async #get(path) {
    for (let attempt = 0; ; attempt += 1) {
      let wait = this.firstWait * 2 ** attempt * (0.5 + Math.random() / 2);
      let failure;
      try {
        const response = await fetch(this.url + path, {
          headers: this.headers,
          signal: AbortSignal.timeout(this.timeout),
        });
        if (response.ok) return (await response.json()).data;
        failure = await apiError(response);
        const retryAfter = Number.parseFloat(response.headers.get("retry-after"));
        if (Number.isFinite(retryAfter)) wait = retryAfter * 1000;
      } catch (error) {
        failure = new ConnectionFailed(error);
      }
      const again = failure instanceof ConnectionFailed || RETRIED.has(failure.status);
      if (!again || attempt >= this.retries || wait > this.longestWait) throw failure;
      await this.sleep(wait);
    }
  }
}

async function apiError(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new ApiError(response.status, error.code, error.message, error.request_id);
  } catch {
    return new ApiError(response.status, null, response.statusText, response.headers.get("x-request-id"));
  }
}
