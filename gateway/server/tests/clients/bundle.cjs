// Bundles a page of an application as its own build would: bundle.cjs SOURCES ENTRY prints one script. `@/` is SOURCES. Components
// that their file keeps to itself are made visible to ENTRY, and `@/lib/supabase` is a session with the page's token.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const esbuild = require("esbuild");

const [sources, entry] = process.argv.slice(2).map((name) => path.resolve(name));

const application = {
  name: "application",
  setup(build) {
    build.onResolve({ filter: /^@\/lib\/supabase$/ }, () => ({ path: "supabase", namespace: "session" }));
    build.onLoad({ filter: /.*/, namespace: "session" }, () => ({
      contents: `export const supabase = { auth: { getSession: async () =>
        ({ data: { session: { access_token: localStorage.getItem("token") } } }) } }`,
    }));
    build.onResolve({ filter: /^@\// }, (what) => {
      const base = path.join(sources, what.path.slice(2));
      return { path: [".ts", ".tsx"].map((end) => base + end).find((file) => fs.existsSync(file)) };
    });
    build.onLoad({ filter: /\.tsx$/ }, (what) => {
      const text = fs.readFileSync(what.path, "utf8");
      const own = /^function (\w+)/m.exec(text);
      return { contents: own ? `${text}\nexport { ${own[1]} }` : text, loader: "tsx" };
    });
  },
};

esbuild
  .build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    jsx: "automatic",
    nodePaths: [process.env.NODE_PATH],
    plugins: [application],
    define: {
      "process.env.NODE_ENV": '"development"',
      "process.env.NEXT_PUBLIC_WS_URL": '"ws://localhost:8000/ws"',
      "import.meta.env.VITE_WS_URL": '"ws://localhost:8080"',
    },
  })
  .then((result) => process.stdout.write(result.outputFiles[0].text));
