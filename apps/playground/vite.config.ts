import { defineConfig, defaultClientConditions } from 'vite';

/** As `dimo serve` sends them: threads of WebAssembly need the isolation. */
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

const rolldownOptions = { output: { comments: false } };

export default defineConfig({
  // Relative: the page can be put into any folder of any server.
  base: './',
  resolve: { conditions: ['@dimo/source', ...defaultClientConditions] },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // The policy of the page allows no data: addresses for scripts and styles.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    // In a file of their own, not in every script.
    license: { fileName: 'licenses.md' },
    rolldownOptions,
  },
  worker: { format: 'es', rolldownOptions },
  server: { headers },
  preview: { headers },
});
