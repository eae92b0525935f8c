/**
 * `npm run docs`: set-up where it is needed, then the site, in `apps/site/dist`. Node's own modules only: it runs before
 * anything is installed.
 */
import { install, runBinary } from './set-up.mjs';

install();
if (!runBinary('nx', ['run', 'dimo-site:docs', '--outputStyle=static'])) process.exitCode = 1;
