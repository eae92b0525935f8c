/** The worker of the page: engines, weights, models and training live here, and nothing of them in the page. */
import { fileListModelFolder, httpModelFolder } from '@dimo/backend-web';
import { bundledTeachers, serveWorker } from '@dimo/pipeline/worker';
import { openEngine } from './engines.js';

serveWorker({
  openEngine,
  teachers: bundledTeachers,
  async openFolder(location, onProgress) {
    if (location.kind === 'files')
      return fileListModelFolder(
        location.files.map(({ path, file }) => ({
          name: file.name,
          webkitRelativePath: path,
          size: file.size,
          slice: (begin, end) => file.slice(begin, end),
        })),
      );
    return httpModelFolder(location.url, {
      onProgress: ({ file, loaded, total }) => onProgress({ file, loadedBytes: loaded, totalBytes: total }),
    });
  },
});
