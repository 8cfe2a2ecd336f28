// CI tries the same examples each time, so that it judges the change and not the draw; everybody else tries new ones.
import fc from "fast-check";

if (process.env.CI) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 1 });
