// Innkeeper as jobs and programs see it: what a script needs to bring about the states that it then looks at.

const patience = 30_000;

export class Inn {
  constructor(url) {
    this.url = url;
    // What programs show to get in, where that is asked for.
    this.token = undefined;
  }

  // Reserves app/component, each hour unless `fields` say otherwise.
  async reserve(app, component, fields = {}) {
    await this.post("/reservation", { app, component, notify: "", frequency: 1, time_units: "hours", ...fields });
  }

  async checkIn(app, component, notes) {
    await this.post("/checkin", { app, component, notes });
  }

  async post(path, body) {
    return this.fetch(path, { method: "POST", body: JSON.stringify(body) });
  }

  // `action` as in the Healthchecks protocol: "", "/start", "/fail", "/3".
  async ping(app, component, action = "", body = undefined) {
    const { ping_url } = await this.job(app, component);
    await this.fetch(`${new URL(ping_url).pathname}${action}`, { method: "POST", body });
  }

  async get(path) {
    return (await this.fetch(path)).json();
  }

  async jobs() {
    return (await this.get("/reservation")).result;
  }

  // The reservation as `GET /reservation` has it.
  async job(app, component) {
    const job = (await this.jobs()).find((job) => job.app === app && job.component === component);
    if (!job) throw new Error(`there is no ${app}/${component}`);
    return job;
  }

  // The path of its page.
  async pathOf(app, component) {
    return `/status/${(await this.job(app, component)).job_id}`;
  }

  // The page at `path`, as text, once it contains `text`.
  async shows(path, text) {
    return eventually(`"${text}" on ${path}`, async () => {
      const page = await (await this.fetch(path, { headers: { accept: "text/html" } })).text();
      return page.includes(text) && page;
    });
  }

  // An answer that is a success. On a machine with too much to do it may take more than one attempt, as any client would make.
  async fetch(path, options = {}) {
    return eventually(`an answer to ${path}`, async () => {
      const headers = { ...(this.token && { authorization: `Bearer ${this.token}` }), ...options.headers };
      const answer = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(patience), ...options, headers });
      if (answer.ok) return answer;
      const said = `${options.method ?? "GET"} ${path}: ${answer.status} ${await answer.text()}`;
      if (answer.status !== 503) throw new Error(said);
      console.error(said);
    });
  }
}

// What `find` returns, once that is something.
export async function eventually(what, find) {
  for (const end = Date.now() + patience; Date.now() < end; ) {
    const found = await find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come`);
}
